import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CompressionCodecs, CompressionTypes, ConfigResourceTypes, type KafkaMessage } from 'kafkajs';
import snappy from 'snappyjs';
import { ulid } from 'ulid';
import { expect, test } from 'vitest';
import { crc32c } from '../../src/kafka/protocol/crc32c.js';
import { startOwnKafka } from '../support/own-kafka.js';
import { bridgeBed, toldOf } from './bridge-bed.js';

/** Long and alike, so that what is compressed refers back, over several blocks. */
const members = Array.from({ length: 300 }, (_, index) => `member:${index}:${index ** 3}`);

test.each(['snappy', 'lz4', 'zstd', 'gzip'])(
  'records that the broker has compressed with %s are read',
  async (type) => {
    const bed = await bridgeBed();
    // It writes them with the libraries of Java that Java's producers use.
    const resource = { type: ConfigResourceTypes.TOPIC, name: bed.config.kafka.topic };
    const configEntries = [{ name: 'compression.type', value: type }];
    await bed.admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries }] });
    await bed.produce(...Array.from({ length: 20 }, (_, index) => ({ id: `${index}`, key: `key:${index}`, members })));
    await bed.produce({ id: 'small', key: 'small' });
    await bed.start();
    await bed.untilCommitted(21);
    const { signals } = await bed.workflow('key:19');
    expect(signals).toEqual([[expect.objectContaining({ id: '19', members })]]);
    expect(await bed.signalledIds('small')).toEqual([['small']]);
    expect(await bed.deadLetterCount()).toBe(0);
  },
);

test('a block of Snappy without the stream of Java around it is read', async () => {
  const bed = await bridgeBed();
  const read = CompressionCodecs[CompressionTypes.Snappy];
  CompressionCodecs[CompressionTypes.Snappy] = () => ({
    compress: async ({ buffer }: { buffer: Buffer }) => snappy.compress(buffer),
    decompress: async () => Buffer.alloc(0),
  });
  try {
    await bed.produceTo(0, { id: 'a', key: 'a', members }, CompressionTypes.Snappy);
  } finally {
    CompressionCodecs[CompressionTypes.Snappy] = read!;
  }
  await bed.start();
  await bed.untilCommitted(1);
  expect(await bed.signalledIds('a')).toEqual([['a']]);
  expect(await bed.deadLetterCount()).toBe(0);
});

/** Kafka's format of a batch: where its length, checksum and attributes are. */
const AT = { length: 8, crc: 17, attributes: 21, records: 61 };

/** Changes batch after batch of a log file. */
function damage(file: string, changes: readonly ((batch: Buffer) => void)[]): void {
  const log = readFileSync(file);
  let at = 0;
  for (const change of changes) {
    const end = at + 12 + log.readInt32BE(at + AT.length);
    change(log.subarray(at, end));
    at = end;
  }
  writeFileSync(file, log);
}

const intact = () => {};
const flipped = (batch: Buffer) => {
  batch[batch.length - 20]! ^= 0xff;
};
/** As its writer would have made it: the checksum is right. */
const compressedBy = (codec: number) => (batch: Buffer) => {
  batch.writeInt16BE(codec, AT.attributes);
  batch.writeUInt32BE(crc32c(batch.subarray(AT.attributes)), AT.crc);
};

test('a batch that stays unreadable becomes a letter that names its offsets, and all else goes on', async () => {
  const kafka = await startOwnKafka();
  const link = ulid();
  const bed = await bridgeBed({ brokers: kafka.brokers, partitions: 2, links: [link] });
  const batches = [1, 2, 3, 1, 1, 1, 2];
  let id = 0;
  for (const size of batches)
    await bed.produce(...Array.from({ length: size }, () => ({ id: `${id}`, key: `key:${id++}` })));
  await bed.produceTo(1, { id: 'other', key: 'other' });
  await kafka.stop();
  const changes = [intact, flipped, compressedBy(4), compressedBy(3), compressedBy(2), intact, compressedBy(6)];
  damage(join(kafka.data, `${bed.config.kafka.topic}-0`, '00000000000000000000.log'), changes);
  await kafka.start();

  const bridge = await bed.start();
  await bed.untilCommitted(11, 1);
  for (const read of [0, 8]) expect(await bed.signalledIds(`key:${read}`)).toEqual([[`${read}`]]);
  expect(await bed.signalledIds('other')).toEqual([['other']]);
  const offsetOf = ({ headers }: KafkaMessage) => Number(headers!['dlq.original.offset']);
  const letters = (await bed.deadLetters(5)).sort((a, b) => offsetOf(a) - offsetOf(b));
  const place = bed.config.kafka.topic.replaceAll('.', '\\.');
  const told = letters.map(({ value, headers }) => ({
    value,
    reason: String(headers!['dlq.reason']),
    partition: String(headers!['dlq.original.partition']),
    offset: String(headers!['dlq.original.offset']),
    message: String(headers!['dlq.error.message']),
  }));
  const letter = (offset: number, which: string, why: string) => ({
    value: null,
    reason: 'unreadable-batch',
    partition: '0',
    offset: `${offset}`,
    message: expect.stringMatching(
      new RegExp(`^${which} of ${place}\\[0\\] can't be read: .*${why}.*; only a comparison`),
    ),
  });
  expect(told).toEqual([
    letter(1, 'offsets 1 to 2', 'checksum'),
    letter(3, 'offsets 3 to 5', 'zstd'),
    letter(6, 'offset 6', 'magic'),
    letter(7, 'offset 7', 'Snappy'),
    letter(9, 'offsets 9 to 10', 'compression 6 is unknown'),
  ]);
  expect(bed.warnings().join('\n')).toContain('unreadable-batch');
  const gaps = await toldOf(bed, link);
  const sizes = gaps.map(({ id, cause, records }) => ({ id, cause, records })).sort((a, b) => (a.id < b.id ? -1 : 1));
  const gapAt = (offset: number, records: number) => ({
    id: `${bed.config.kafka.topic}[0] unreadable at ${offset}`,
    cause: 'unreadable',
    records,
  });
  expect(sizes).toEqual([gapAt(1, 2), gapAt(3, 3), gapAt(6, 1), gapAt(7, 1), gapAt(9, 2)]);

  // It lives, and a restart does not meet them again.
  await bed.produce({ id: 'later', key: 'later' });
  await bed.untilCommitted(12, 1);
  await bridge.stop();
  await bed.start();
  await bed.produce({ id: 'last', key: 'last' });
  await bed.untilCommitted(13, 1);
  expect(await bed.deadLetterCount()).toBe(5);
});
