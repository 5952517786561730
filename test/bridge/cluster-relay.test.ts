/**
 * An application whose source is a Cluster, from its writes to the topic, with Kafka away in
 * between.
 */
import { Cluster, Redis } from 'ioredis';
import { Kafka, type KafkaMessage, logLevel } from 'kafkajs';
import { expect, onTestFinished, test } from 'vitest';
import { startRelay } from '../../src/bridge/relay.js';
import { parseConfig } from '../../src/config.js';
import { createDualWriter } from '../../src/dual-write/dual-writer.js';
import type { RecordsLostError } from '../../src/dual-write/records/publisher.js';
import { mirrorOptions } from '../../src/dual-write/target/mirror-options.js';
import type { RecordSink } from '../../src/events/record-sink.js';
import { createKafkaRecordSink } from '../../src/kafka/record-sink.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { startOwnKafka } from '../support/own-kafka.js';
import { freePort } from '../support/redis.js';
import { createTopics } from '../support/topics.js';
import { loggerInto, until } from './bridge-bed.js';
import { clusterBed, idsByKey, STREAMS } from './cluster-bed.js';

const TOPIC = 'keymend.failed-writes';

async function prepareTopics(kafka: Kafka): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  await createTopics(admin, { topic: TOPIC, numPartitions: 4 }, { topic: `${TOPIC}.dlq` });
  await admin.disconnect();
}

/** All that a topic holds, once that is `count` messages or more. */
async function messages(kafka: Kafka, topic: string, count: number): Promise<KafkaMessage[]> {
  const found: KafkaMessage[] = [];
  const consumer = kafka.consumer({ groupId: `reader-of-${topic}`, maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({ eachMessage: async ({ message }) => void found.push(message) });
  try {
    await until(() => expect(found.length).toBeGreaterThanOrEqual(count));
  } finally {
    await consumer.disconnect();
  }
  return found;
}

/** Remembers, in their order, the records that the sink has taken. */
function noting(sink: RecordSink, taken: FailedWrite[]): RecordSink {
  return {
    async publish(records) {
      await sink.publish(records);
      taken.push(...records);
    },
  };
}

test('while Kafka is away, failed writes wait in the Cluster; then the topic gets each once, in the order of its key', async () => {
  const ownKafka = await startOwnKafka();
  const kafka = new Kafka({ brokers: ownKafka.brokers, logLevel: logLevel.NOTHING });
  await prepareTopics(kafka);
  const bed = await clusterBed();
  const links = [{ name: 'l', source: bed.endpoint, target: { url: 'redis://127.0.0.1:1' } }];
  const config = parseConfig(JSON.stringify({ kafka: { brokers: ownKafka.brokers }, links }), 'the test', {});
  if (config.intake !== 'kafka') throw new Error('kafka is the default');
  const relay = startRelay(config, loggerInto(bed.logs), { async open() {} });
  onTestFinished(() => relay.stop());

  const source = new Cluster([...bed.cluster.seeds], { redisOptions: { protocol: 2 } });
  // Nobody is there.
  const target = new Redis(await freePort(), '127.0.0.1', mirrorOptions(500));
  for (const client of [source, target]) client.on('error', () => {});
  const kafkaSink = createKafkaRecordSink({ kafka: { brokers: ownKafka.brokers }, topic: TOPIC });
  onTestFinished(async () => {
    source.disconnect();
    target.disconnect();
    await kafkaSink.close();
  });
  const taken: FailedWrite[] = [];
  const lost: RecordsLostError[] = [];
  const writer = createDualWriter({
    link: 'l',
    origin: 'test',
    source,
    target,
    records: [kafkaSink, noting(bed.outbox, taken)],
    onError: (error) => void lost.push(error),
    failoverAfterMs: 200,
  });

  await ownKafka.stop();
  for (let turn = 1; turn <= 5; turn++) {
    await Promise.all(Array.from({ length: 300 }, (_, index) => writer.incr(`k${index}`)));
    // The records of one key that wait together become one: each turn has its own.
    await until(() => expect(writer.stats().recorded).toBe(300 * turn));
  }
  expect(await writer.close()).toEqual({ notRecorded: [], unanswered: [] });
  expect(lost).toEqual([]);
  expect(taken).toHaveLength(1_500);
  expect(await bed.waiting()).toBe(1_500);
  const poison = await bed.cluster.client.xadd(STREAMS[7]!, '*', 'value', 'no JSON');
  await until(() =>
    expect(bed.warnings()).toContainEqual(expect.stringMatching(/does not take what is in the outbox/)),
  );

  await ownKafka.start();
  await until(async () => expect(await bed.waiting()).toBe(0));
  const found = (await messages(kafka, TOPIC, 1_500)).map(({ value }) => JSON.parse(String(value)) as FailedWrite);
  // What Kafka may have taken without saying so is there twice, under one id.
  const once = new Map(found.map((event) => [event.id, event]));
  expect(idsByKey([...once.values()])).toEqual(idsByKey(taken));
  const [letter] = await messages(kafka, `${TOPIC}.dlq`, 1);
  expect(String(letter!.headers!['dlq.original.topic'])).toBe(STREAMS[7]);
  expect(String(letter!.headers!['dlq.original.offset'])).toBe(poison);
});
