/**
 * Surge: from Kafka to two Redis that are equal again, by batches in Temporal, against the consumer
 * that one would write by hand: decode, DUMP on both sides, compare, RESTORE, commit. Producing is
 * part of both times. Bridge and worker share the one thread that the other has for itself.
 */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime } from '@temporalio/worker';
import { Redis } from 'ioredis';
import { Kafka, logLevel, Partitioners, type Producer } from 'kafkajs';
import { pino } from 'pino';
import { test, vi } from 'vitest';
import { startBridge } from '../src/bridge/bridge.js';
import { parseConfig } from '../src/config.js';
import { stackDown, stackUp } from '../src/stack/index.js';
import { startWorker } from '../src/worker/worker.js';
import { BATCH_TYPE } from '../workflows/batch-messages.js';
import { type Contestant, report, speedRatio, versions } from './ratio.js';

const KEYS = 30_000;
const PARTITIONS = 4;
const TURNS = 5;
const logger = pino({ level: 'silent' });

const keys = Array.from({ length: KEYS }, (_, index) => `user:${index}`);

function messagesOf(): { key: string; value: string }[] {
  const failedAt = new Date().toISOString();
  return keys.map((key) => ({
    key,
    value: JSON.stringify({
      specVersion: 1,
      id: randomUUID(),
      link: 'l',
      key,
      command: 'SET',
      outcome: 'refused',
      failedAt,
      error: { code: 'TIMEOUT', message: 'the target did not answer within 500 ms; the connection was reset' },
      origin: 'orders-api',
    }),
  }));
}

/** What one would write: everything in pipelines of a batch. */
async function startByHand(kafka: Kafka, topic: string, source: Redis, target: Redis): Promise<() => Promise<void>> {
  const consumer = kafka.consumer({ groupId: `by-hand-${topic}`, maxWaitTimeInMs: 500 });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    partitionsConsumedConcurrently: PARTITIONS,
    eachBatch: async ({ batch }) => {
      const failed = new Set(batch.messages.map(({ value }) => JSON.parse(value!.toString()).key as string));
      const names = [...failed];
      const read = async (redis: Redis) => {
        const pipeline = redis.pipeline();
        for (const name of names) pipeline.dumpBuffer(name).pttl(name);
        return (await pipeline.exec())!.map(([, reply]) => reply);
      };
      const [ours, theirs] = await Promise.all([read(source), read(target)]);
      const repair = target.pipeline();
      for (const [index, name] of names.entries()) {
        const [value, ttl] = [ours[index * 2] as Buffer | null, ours[index * 2 + 1] as number];
        const other = theirs[index * 2] as Buffer | null;
        if (value === null) repair.del(name);
        else if (other === null || !value.equals(other)) repair.restore(name, Math.max(0, ttl), value, 'REPLACE');
      }
      await repair.exec();
    },
  });
  return () => consumer.disconnect();
}

test('surge', async () => {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter: 'ERROR', forward: {} } },
  });
  const directory = mkdtempSync(join(tmpdir(), 'keymend-bench-'));
  try {
    const stack = await stackUp({ directory, environment: process.env, report: () => {}, preferredPorts: 'free' });
    const { brokers } = stack.kafka;
    const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING });
    const admin = kafka.admin();
    await admin.connect();
    const topics = ['surge', 'surge.dlq', 'by-hand'];
    await admin.createTopics({
      waitForLeaders: false,
      topics: topics.map((topic) => ({ topic, numPartitions: PARTITIONS })),
    });
    await vi.waitFor(() => admin.fetchTopicMetadata({ topics }), 10_000);
    await admin.disconnect();
    const producer: Producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
    await producer.connect();
    const [source, target] = [new Redis(stack.redis.source), new Redis(stack.redis.target)];
    console.log(
      `${await versions(source)}, Kafka 4.1.0 with ${PARTITIONS} partitions, ${TURNS} turns of ${KEYS} keys each`,
    );
    await source.mset(keys.flatMap((key) => [key, `value of ${key}, of a size that is not unusual for a small one`]));

    const config = parseConfig(
      JSON.stringify({
        temporal: { taskQueue: `surge-${randomUUID()}` },
        kafka: { brokers, topic: 'surge', deadLetterTopic: 'surge.dlq' },
        surge: { enter: 1_000, leave: 10 },
        links: [
          {
            name: 'l',
            source: { url: stack.redis.source },
            target: { url: stack.redis.target },
            budget: { opsPerSecond: 10_000_000 },
          },
        ],
      }),
      'bench',
      {},
    );
    const { address } = stack.temporal;
    const connection = await NativeConnection.connect({ address });
    const client = new Client({ connection: await Connection.connect({ address }) });
    const worker = await startWorker({
      config,
      connection,
      namespace: 'default',
      deadLetters: { kind: 'topic', publish: async () => {}, close: async () => {} },
      usableAttributes: async () => [],
      logger,
    });
    const bridge = await startBridge({ config, client: client.workflow, logger });
    const stopByHand = await startByHand(kafka, 'by-hand', source, target);

    const healing = (topic: string): Contestant => {
      let messages = messagesOf();
      return {
        async prepare() {
          const query = `WorkflowType = "${BATCH_TYPE}" AND ExecutionStatus = "Running"`;
          await vi.waitFor(async () => {
            if ((await client.workflow.count(query)).count > 0) throw new Error('batches are under way');
          }, 60_000);
          await target.flushdb();
          messages = messagesOf();
        },
        async run() {
          for (let begin = 0; begin < KEYS; begin += 5_000)
            await producer.send({ topic, messages: messages.slice(begin, begin + 5_000), acks: 1 });
          while ((await target.dbsize()) < KEYS) await sleep(10);
        },
      };
    };
    report(
      'surge, Kafka to converged, keys/s: by hand',
      await speedRatio(healing('surge'), healing('by-hand'), TURNS),
      1,
    );
    const { count } = await client.workflow.count(`WorkflowType = "${BATCH_TYPE}"`);
    console.log(`${count} batches for ${(TURNS + 1) * KEYS} keys`);
    await Promise.all([bridge.stop(), stopByHand(), producer.disconnect()]);
    await worker.stop();
    await Promise.all([connection.close(), client.connection.close()]);
    source.disconnect();
    target.disconnect();
  } finally {
    await stackDown({ directory, report: () => {} });
    rmSync(directory, { recursive: true, force: true });
  }
});
