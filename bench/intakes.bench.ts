/**
 * Both intakes alone: how fast records come to a handler that accepts them at once, and are
 * forgotten. What follows in a bridge is bounded by Temporal, at a small part of this.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { type Admin, Kafka, logLevel } from 'kafkajs';
import { pino } from 'pino';
import { test } from 'vitest';
import { parseConfig } from '../src/config.js';
import type { BatchHandler, Intake } from '../src/events/intake.js';
import type { RecordSink } from '../src/events/record-sink.js';
import { createKafka } from '../src/kafka/client.js';
import { startKafkaIntake } from '../src/kafka/intake.js';
import { createKafkaRecordSink } from '../src/kafka/record-sink.js';
import { createOutboxIntake } from '../src/outbox/intake.js';
import { createOutbox } from '../src/outbox/record-sink.js';
import { stackDown, stackUp } from '../src/stack/index.js';
import { createTopics } from '../test/support/topics.js';
import type { FailedWrite } from '../workflows/messages.js';
import { type Contestant, report, speedRatio, versions } from './ratio.js';

const RECORDS = 20_000;
const PARTITIONS = 4;
const STREAM = 'keymend:outbox';
const logger = pino({ level: 'silent' });

const records: FailedWrite[] = Array.from({ length: RECORDS }, (_, index) => ({
  specVersion: 1,
  id: `01JD0000000000000000${index}`,
  link: 'east-to-west',
  key: `user:${index}`,
  command: 'HSET',
  members: ['name', 'state'],
  outcome: 'unknown',
  failedAt: '2026-11-20T23:00:00.000Z',
  error: { code: 'TIMEOUT', message: 'the target did not answer within 500 ms; the connection was reset' },
  origin: 'orders-api',
}));

/** Not timed: producing, joining, and the way to the first batch. */
function reading(
  sink: RecordSink,
  start: (handle: BatchHandler) => Promise<Intake>,
): Contestant & { stop(): Promise<void> } {
  let intake: Intake | undefined;
  let open: () => void;
  let allAccepted: Promise<void>;
  return {
    async prepare() {
      await intake?.stop();
      await sink.publish(records);
      const opened = new Promise<void>((resolve) => {
        open = resolve;
      });
      let begun!: () => void;
      const firstBatch = new Promise<void>((resolve) => {
        begun = resolve;
      });
      let done!: () => void;
      allAccepted = new Promise<void>((resolve) => {
        done = resolve;
      });
      let left = RECORDS;
      intake = await start(async (batch) => {
        begun();
        await opened;
        for (const record of batch.records) batch.accepted(record);
        left -= batch.records.length;
        if (left === 0) done();
      });
      await firstBatch;
    },
    async run() {
      open();
      await allAccepted;
    },
    stop: async () => intake?.stop(),
  };
}

async function createMissing(admin: Admin, topic: string, deadLetterTopic: string): Promise<void> {
  const topics = await admin.listTopics();
  const missing = [{ topic, numPartitions: PARTITIONS }, { topic: deadLetterTopic }];
  await createTopics(admin, ...missing.filter((each) => !topics.includes(each.topic)));
}

test('intakes', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'keymend-bench-'));
  try {
    const stack = await stackUp({ directory, environment: process.env, report: () => {}, preferredPorts: 'free' });
    const { brokers } = stack.kafka;
    const [source, target] = [{ url: stack.redis.source }, { url: stack.redis.target }];
    const text = JSON.stringify({ kafka: { brokers, topic: 'bench' }, links: [{ name: 'l', source, target }] });
    const config = parseConfig(text, 'the bench', {});
    if (config.intake !== 'kafka') throw new Error('kafka is the default');
    const { topic, deadLetterTopic } = config.kafka;
    const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    await createMissing(admin, topic, deadLetterTopic);
    await admin.disconnect();

    const redis = new Redis(source.url);
    console.log(`${await versions(redis)}, Kafka 4.1.0 with ${PARTITIONS} partitions, ${RECORDS} records`);
    const toKafka = createKafkaRecordSink({ kafka: { brokers }, topic });
    const toOutbox = createOutbox({ client: redis });

    const fromKafka = reading(toKafka, (handle) =>
      startKafkaIntake({
        onGap: async () => {},
        kafka: createKafka(config.kafka, logger),
        config: config.kafka,
        handle,
        logger,
      }),
    );
    const fromOutbox = reading(toOutbox, async (handle) => {
      const name = 'source of link l';
      const intake = createOutboxIntake({
        source: { endpoint: source, name, links: ['l'] },
        key: STREAM,
        group: 'keymend-bridge',
        handle,
        putsAside: true,
        onGap: async () => {},
        logger,
      });
      intake.start();
      return intake;
    });
    report('records/s out of the outbox: out of Kafka', await speedRatio(fromOutbox, fromKafka, 5), 0.1);
    await Promise.all([fromOutbox.stop(), fromKafka.stop()]);

    const before = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))![1]);
    await toOutbox.publish(records);
    const after = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))![1]);
    console.log(`memory of the source for each record that waits: ${Math.round((after - before) / RECORDS)} bytes`);

    const publishing = (sink: RecordSink): Contestant => ({
      prepare: async () => void (await redis.del(STREAM)),
      run: () => sink.publish(records),
    });
    report('records/s into the outbox: into Kafka', await speedRatio(publishing(toOutbox), publishing(toKafka), 5), 1);
    await Promise.all([toKafka.close(), toOutbox.close()]);
    redis.disconnect();
  } finally {
    await stackDown({ directory, report: () => {} });
    rmSync(directory, { recursive: true, force: true });
  }
});
