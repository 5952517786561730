/** What changed inputs have found, each with the smallest that shows it. */
import { createRequire } from 'node:module';
import { CompressionCodecs, CompressionTypes, type KafkaMessage } from 'kafkajs';
import { expect, test } from 'vitest';
import { VerbError } from '../../src/cli/context.js';
import { escalatedQuery } from '../../src/cli/escalated/query.js';
import { filterOf } from '../../src/cli/letter-filter.js';
import { viewOf } from '../../src/cli/letters.js';
import { ConfigError, parseConfig } from '../../src/config.js';
import { letterOf } from '../../src/dead-letters/letter.js';
import { crc32c } from '../../src/kafka/protocol/crc32c.js';
import { readWhatCanBeRead, unreadableOf } from '../../src/kafka/protocol/unreadable.js';
import { entryRecord } from '../../src/outbox/entry.js';
import { compareDumps } from '../../src/redis/dump.js';
import { unpacked } from '../../src/redis/scripts/packed.js';
import { urlProblem } from '../../src/redis-url.js';
import { parseReport } from '../../src/sweep/report.js';
import { payloadCodec } from '../../src/temporal/codec.js';

const SECRET = 's3cret~of~mine';

function refused(text: string): Error {
  try {
    parseConfig(text, 'keymend.yaml', {});
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('it was taken');
}

test.each([
  ['an alias', `password: *${SECRET}`, /begins an alias.*in quotes/],
  ['a tag, which reads as nothing', `password: !${SECRET}`, /begins a tag.*in quotes \(line 1, column 11\)/],
  ['a text behind another', `password: "x" ${SECRET}`, /has no place for.* \(line 1, column 15\)/],
  ['a block', `password: |${SECRET}`, /has no place for/],
  ['an escape', `password: "\\${SECRET}"`, /begins an escape/],
  ['an end in the wrong place', `password: "${SECRET}\nx: 1`, /Missing closing "quote \(line 2, column 5\)/],
  ['the rest of a line', `{ password: a, "b ${SECRET}" }`, /unknown key "…"/],
])('a secret that YAML takes for %s is not in the error', (_, text, expected) => {
  const error = refused(text);
  expect(error.message).toMatch(expected);
  for (let each: unknown = error; each !== undefined; each = (each as Error).cause)
    expect(`${each}`).not.toContain(SECRET);
});

const TAIL = 'Tail9xyz';
const link = (target: string) =>
  `intake: redis-stream\nlinks: [{ name: a, source: { url: redis://a }, target: { ${target} } }]`;

test.each([
  ['kafka: { brokers: [h:1], sasl: { mechanism: plain, username: a, password: hunter2,Tail9xyz } }', 'kafka.sasl.…'],
  ['kafka: { brokers: [h:1], sasl: { mechanism: plain, username: a, password: a, Tail9xyz: b } }', 'kafka.sasl.…'],
  [link('sentinel: { name: m, urls: [redis://s], password: hunter2,Tail9xyz }'), 'links[0].target.sentinel.…'],
  [link('url: redis://u:hunter2,Tail9xyz'), 'links[0].target.…'],
  [link('cluster: [redis://a], addressMap: { h:1: h:2,Tail9xyz }'), 'links[0].target.addressMap.…'],
  ['http: { token: hunter2,Tail9xyz }', 'http.…'],
  ['temporal: { codec: { keys: [{ id: a, secret: hunter2,Tail9xyz }] } }', 'temporal.codec.keys[0].…'],
])('the rest of a value with a comma is not in the error: %s', (text, place) => {
  const { message } = refused(text);
  expect(message).toContain(place);
  expect(message).not.toContain(TAIL);
});

test('a wrong key beside no secret is named, and one that is nearly right beside a secret as well', () => {
  expect(refused('http: { colour: red }').message).toContain('unknown key "http.colour"');
  expect(refused('http: { token: a, prot: 1 }').message).toContain(
    'unknown key "http.prot", did you mean "http.port"?',
  );
  expect(refused('http: { token: a, prot: }').message).toContain('unknown key "http.prot"');
  expect(refused('intake: redis-stream\nlinks:').message).toContain('links: ');
});

test('a password that ends in % is refused, whatever the host begins with', () => {
  expect(urlProblem('redis://app:secret%@10.0.0.1')).toMatch(/^is no url/);
});

test('an error of the configuration is one line, whatever its names', () => {
  expect(refused('{ "a\\nb": 1, links: [] }').message).not.toMatch(/\n/);
  const rule = { match: { link: 'a\nb' }, do: 'keep' };
  const links = [{ name: 'a', source: { url: 'redis://a' }, target: { url: 'redis://b' } }];
  expect(refused(JSON.stringify({ intake: 'redis-stream', dlq: { rules: [rule] }, links })).message).not.toMatch(/\n/);
});

test('what is no report is not quoted, not in the cause either', () => {
  const parse = () => parseReport(SECRET, 'report.json');
  expect(parse).toThrow(/^report.json is no JSON/);
  expect(parse).toThrow(expect.not.objectContaining({ cause: expect.anything() }));
});

test.each(['no end', '9:short', 'x:y', '-1:'])('a damaged list of a script fails (%s)', (list) => {
  expect(() => unpacked(Buffer.from(list))).toThrow(/list in the reply of a script is damaged/);
});

test('the name of a key of the codec is shown in one line', async () => {
  const codec = payloadCodec([{ id: 'k', secret: Buffer.alloc(32).toString('base64') }]);
  const metadata = { encoding: Buffer.from('binary/encrypted'), 'encryption-key-id': Buffer.from('a\u0085\u2028b') };
  await expect(codec.decode([{ metadata }])).rejects.toThrow(/key "a\?\?b"/);
});

test('a dead letter with an ID beyond all dates is shown', () => {
  const id = '18446744073709551615-1';
  const letter = letterOf(
    'keymend:outbox:dlq',
    entryRecord('keymend:outbox:dlq', { id, fields: [] }),
    Number(id.split('-')[0]),
  );
  expect(viewOf(letter)).toMatchObject({ letter: `keymend:outbox:dlq/${id}` });
});

test('an age from before all dates is refused as such', () => {
  const config = parseConfig(
    'intake: redis-stream\nlinks: [{ name: a, source: { url: redis://a }, target: { url: redis://b } }]',
    'keymend.yaml',
    {},
  );
  expect(() => filterOf({ olderThan: '999999999d' })).toThrow(VerbError);
  expect(() => escalatedQuery(config, { olderThan: '999999999d' })).toThrow(VerbError);
});

test('a DUMP that promises gigabytes takes none', () => {
  // A string of one byte by LZF, which is to become 4 GiB.
  const dump = Buffer.concat([Buffer.from([0, 0xc3, 1, 0x80, 0xff, 0xff, 0xff, 0xff, 0]), Buffer.alloc(10)]);
  expect(compareDumps(dump, Buffer.concat([dump.subarray(0, -1), Buffer.of(1)]))).toBe('unknown');
});

test('neither does a batch of Kafka', async () => {
  readWhatCanBeRead();
  const decompress = (type: CompressionTypes, bytes: Buffer) =>
    (
      CompressionCodecs[type as keyof typeof CompressionCodecs]!() as { decompress(bytes: Buffer): Promise<Buffer> }
    ).decompress(bytes);
  const lz4 = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 0xff, 0xff, 0xff, 0xff]);
  await expect(decompress(CompressionTypes.LZ4, lz4)).rejects.toThrow('ends beyond its batch');
  const snappy = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x07, 0, 0]);
  await expect(decompress(CompressionTypes.Snappy, snappy)).rejects.toThrow('too big');
  // A literal of 4 GiB less some bytes, which is a step back in 32 bits: for ever.
  const back = Buffer.from([0x08, 0xfc, 0xfa, 0xff, 0xff, 0xff]);
  await expect(decompress(CompressionTypes.Snappy, back)).rejects.toThrow('ends beyond its block');
  // A window of 2 GiB, and one segment of 4 GiB.
  const window = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 1, 0, 0]);
  const segment = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0]);
  for (const zstd of [window, segment]) {
    await expect(decompress(CompressionTypes.ZSTD, zstd)).rejects.toThrow('more than 128 MiB');
  }
});

test('a batch of Kafka that claims more records than it has place for is not read', async () => {
  readWhatCanBeRead();
  const require = createRequire(import.meta.url);
  const batch = Buffer.alloc(61);
  batch.writeInt32BE(batch.length - 12, 8);
  batch.writeInt8(2, 16);
  batch.writeInt32BE(2 ** 31 - 1, 57);
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
  const Decoder = require('kafkajs/src/protocol/decoder');
  const { records } = await require('kafkajs/src/protocol/recordBatch/v0/decoder')(new Decoder(batch));
  expect(records.map((record: KafkaMessage) => unreadableOf(record)?.reason)).toEqual([
    'it claims more records than it has',
  ]);
});

test('a bracket that is not indented is read', () => {
  const link = 'links:\n  - name: a\n    source: { url: redis://a }\n    target: {\n      url: redis://b\n    }\n';
  const { links } = parseConfig(`kafka: {\n  brokers: [a:1]\n}\n${link}`, 'keymend.yaml', {});
  expect(links[0]!.target).toEqual({ url: 'redis://b' });
});

test('a record of more headers than it has bytes is not read', () => {
  readWhatCanBeRead();
  const Decoder = createRequire(import.meta.url)('kafkajs/src/protocol/decoder');
  const headers = new Decoder(Buffer.from([0xfe, 0xff, 0xff, 0xff, 0x0f]));
  expect(() => headers.readVarIntArray(() => null)).toThrow(/more than 2000 headers/);
});

test('a settle or a first pause that no timer takes is refused', () => {
  const link = (settle: string) =>
    `{kafka: {brokers: ['a:1']}, links: [{name: a, source: {url: 'redis://a'}, target: {url: 'redis://b'}, settle: ${settle}}]}`;
  expect(refused(link('25d')).message).toBe('keymend.yaml: links[0].settle: must be at most 24d');
  const longPause = "1s, retry: {initialInterval: '25d', maximumInterval: '30d'}";
  expect(refused(link(longPause)).message).toBe('keymend.yaml: links[0].retry.initialInterval: must be at most 24d');
  expect(() => parseConfig(link('24d'), 'keymend.yaml', {})).not.toThrow();
});
