/**
 * Kafka is down while the target is: what failed waits in the outbox, and nothing of it is lost.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Redis } from 'ioredis';
import { Kafka, logLevel } from 'kafkajs';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { startRelay } from '../../src/bridge/relay.js';
import { parseConfig } from '../../src/config.js';
import type { DualWriter } from '../../src/dual-write/dual-writer.js';
import { type KeyRequest, reconcileKeys } from '../../src/engine/index.js';
import { decodeFailedWrite } from '../../src/events/failed-write-codec.js';
import type { RecordSink } from '../../src/events/record-sink.js';
import { createKafkaRecordSink } from '../../src/kafka/record-sink.js';
import { createOutbox } from '../../src/outbox/record-sink.js';
import { connectRedis } from '../../src/redis/index.js';
import { DEFAULT_OPTIONS } from '../engine/link.js';
import { generatedCases } from '../support/cases.js';
import { compareRedis } from '../support/compare.js';
import { eventually } from '../support/eventually.js';
import { startOwnKafka } from '../support/own-kafka.js';
import { createTopics } from '../support/topics.js';
import { startBed } from './bed.js';

const WRITES_PER_SECOND = 2_000;
/** A full minute in a full run. */
const OUTAGE_SECONDS = Math.min(60, generatedCases(10));
const KEYS = 500;
const TURN_MS = 10;
/** Far less than what the writes of an outage take in memory, if someone kept them. */
const MAX_GROWTH_BYTES = 6 * 1024 * 1024;

async function createTopic(brokers: readonly string[], topic: string): Promise<void> {
  const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  await createTopics(admin, { topic, numPartitions: 4 });
  await admin.disconnect();
}

/** Everything that a topic holds. */
async function read(brokers: readonly string[], topic: string): Promise<{ id: string; key: Buffer }[]> {
  const kafka = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const offsets = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const expected = offsets.reduce((sum, { high }) => sum + Number(high), 0);
  const found: { id: string; key: Buffer }[] = [];
  const consumer = kafka.consumer({ groupId: `outage-${topic}` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => {
      const decoded = decodeFailedWrite(message.value!);
      if (!decoded.ok) throw new Error(decoded.problem.message);
      found.push({ id: decoded.event.id, key: decoded.key });
    },
  });
  try {
    await eventually(() => expect(found.length).toBe(expected));
  } finally {
    await consumer.disconnect();
  }
  return found;
}

/** Remembers the ids that the sink has taken. */
function noting(sink: RecordSink, ids: Set<string>): RecordSink {
  return {
    async publish(records) {
      await sink.publish(records);
      for (const { id } of records) ids.add(id);
    },
  };
}

async function write(redis: DualWriter, index: number): Promise<unknown> {
  const number = index % KEYS;
  if (number % 4 === 0) return redis.incr(`counter:${number}`);
  if (number % 4 === 1) return redis.hset(`hash:${number}`, `f${index % 20}`, index);
  if (number % 4 === 2) return redis.sadd(`set:${number}`, `m${index % 300}`);
  return redis.set(`string:${number}`, `v${index}`);
}

/** Spread over time: not more at once than an application would. */
async function writeFor(redis: DualWriter, seconds: number): Promise<void> {
  const perTurn = (WRITES_PER_SECOND * TURN_MS) / 1000;
  const begun = performance.now();
  for (let turn = 0; turn < (seconds * 1000) / TURN_MS; turn++) {
    await sleep(Math.max(0, begun + turn * TURN_MS - performance.now()));
    await Promise.all(Array.from({ length: perTurn }, (_, index) => write(redis, turn * perTurn + index)));
  }
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

test(`no failed write is lost while Kafka is down for ${OUTAGE_SECONDS} s under load, and the writer needs no more memory for it`, async ({
  annotate,
}) => {
  const kafka = await startOwnKafka();
  const { brokers } = kafka;
  const topic = 'outage';
  await createTopic(brokers, topic);
  const bed = await startBed();
  onTestFinished(() => bed.stop());
  const links = [{ name: bed.names.link, source: { url: bed.source.url }, target: { url: bed.target.url } }];
  const config = parseConfig(JSON.stringify({ kafka: { brokers, topic }, links }), 'the test', {});
  if (config.intake !== 'kafka') throw new Error('kafka is the default');
  const relay = startRelay(config, pino({ level: 'silent' }), { async open() {} });
  onTestFinished(() => relay.stop());

  const kafkaSink = createKafkaRecordSink({ kafka: { brokers }, topic });
  const outbox = createOutbox({ client: new Redis(bed.source.port, '127.0.0.1', { lazyConnect: true }) });
  onTestFinished(() => Promise.all([kafkaSink.close(), outbox.close()]).then(() => {}));
  const [toKafka, toOutbox] = [new Set<string>(), new Set<string>()];
  const writer = await bed.writer({
    records: [noting(kafkaSink, toKafka), noting(outbox, toOutbox)],
    more: { failoverAfterMs: 500 },
  });

  bed.link.cut();
  await writeFor(writer, 1);
  await kafka.stop();
  await writeFor(writer, OUTAGE_SECONDS / 2);
  const halfway = heapBytes();
  await writeFor(writer, OUTAGE_SECONDS / 2);
  expect(heapBytes() - halfway).toBeLessThan(MAX_GROWTH_BYTES);
  await kafka.start();
  await writeFor(writer, 1);

  expect(await writer.close()).toEqual({ notRecorded: [], unanswered: [] });
  expect(writer.stats()).toMatchObject({ mirrored: 0, lost: 0, recording: 0 });
  expect(bed.lost).toEqual([]);
  expect(toKafka.size).toBeGreaterThan(0);
  expect(toOutbox.size).toBeGreaterThan(KEYS);
  await eventually(async () => expect(await bed.source.client.xlen('keymend:outbox')).toBe(0));
  // What Kafka was slow to take went to the outbox as well, and its sink still may be at it.
  await kafkaSink.close();

  const records = await read(brokers, topic);
  const ids = new Set(records.map(({ id }) => id));
  const taken = new Set([...toKafka, ...toOutbox]);
  expect([...taken].filter((id) => !ids.has(id))).toEqual([]);
  await annotate(
    `${ids.size} ids, ${toOutbox.size} by the outbox, ${records.length - ids.size} of them twice in Kafka`,
  );

  const keys = new Map(records.map(({ key }) => [key.toString('latin1'), { key } satisfies KeyRequest]));
  const sides = {
    source: connectRedis({ url: bed.source.url }, { name: 'source' }),
    target: connectRedis({ url: bed.target.url }, { name: 'target' }),
  };
  onTestFinished(() => Promise.all([sides.source.close(), sides.target.close()]).then(() => {}));
  const results = await reconcileKeys(sides, [...keys.values()], DEFAULT_OPTIONS);
  expect(new Set(results.map(({ outcome }) => outcome))).toEqual(new Set(['repaired']));
  expect(await bed.source.client.dbsize()).toBeGreaterThanOrEqual(KEYS);
  expect(await compareRedis(bed.source.client, bed.target.client)).toEqual([]);
});
