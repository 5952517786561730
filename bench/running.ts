/** Bridges and a worker in this process, on services of their own. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime } from '@temporalio/worker';
import { Redis } from 'ioredis';
import { Kafka, logLevel, Partitioners, type Producer } from 'kafkajs';
import { pino } from 'pino';
import { vi } from 'vitest';
import { startBridge } from '../src/bridge/bridge.js';
import { parseConfig } from '../src/config.js';
import { stackDown, stackUp } from '../src/stack/index.js';
import { startWorker } from '../src/worker/worker.js';
import { BATCH_TYPE } from '../workflows/batch-messages.js';

const PARTITIONS = 4;
const logger = pino({ level: 'silent' });

export interface Running {
  readonly kafka: Kafka;
  readonly producer: Producer;
  readonly source: Redis;
  readonly target: Redis;
  readonly client: Client;
  /** When no batch is under way any more. */
  batchesEnded(): Promise<void>;
}

/**
 * Runs `work` beside a bridge for each of `topics` and one worker for all. Each topic has a link of
 * its name.
 * @param further topics that no bridge reads
 */
export async function withRunning(
  { topics, further = [], surgeFrom }: { topics: readonly string[]; further?: readonly string[]; surgeFrom: number },
  work: (running: Running) => Promise<void>,
): Promise<void> {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter: 'ERROR', forward: {} } },
  });
  const directory = mkdtempSync(join(tmpdir(), 'keymend-bench-'));
  try {
    const stack = await stackUp({ directory, environment: process.env, report: () => {}, preferredPorts: 'free' });
    const { brokers } = stack.kafka;
    const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING });
    await createTopics(kafka, [...topics.flatMap((topic) => [topic, `${topic}.dlq`]), ...further]);
    const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
    await producer.connect();
    const [source, target] = [new Redis(stack.redis.source), new Redis(stack.redis.target)];
    const taskQueue = `bench-${randomUUID()}`;
    const configOf = (topic: string) =>
      parseConfig(
        JSON.stringify({
          temporal: { taskQueue },
          kafka: { brokers, topic, groupId: topic, deadLetterTopic: `${topic}.dlq` },
          surge: { enter: surgeFrom, leave: 10 },
          links: topics.map((name) => ({
            name,
            source: { url: stack.redis.source },
            target: { url: stack.redis.target },
            budget: { opsPerSecond: 10_000_000 },
            workflowIdPrefix: `${name}/`,
          })),
        }),
        'bench',
        {},
      );
    const { address } = stack.temporal;
    const connection = await NativeConnection.connect({ address });
    const client = new Client({ connection: await Connection.connect({ address }) });
    const worker = await startWorker({
      config: configOf(topics[0]!),
      connection,
      namespace: 'default',
      version: 'bench',
      deadLetters: { kind: 'topic', publish: async () => {}, close: async () => {} },
      usableAttributes: async () => [],
      logger,
    });
    const bridges = await Promise.all(
      topics.map((topic) => startBridge({ config: configOf(topic), client: client.workflow, logger })),
    );
    const batchesEnded = async () => {
      const query = `WorkflowType = "${BATCH_TYPE}" AND ExecutionStatus = "Running"`;
      await vi.waitFor(async () => {
        if ((await client.workflow.count(query)).count > 0) throw new Error('batches are under way');
      }, 60_000);
    };
    await work({ kafka, producer, source, target, client, batchesEnded });
    await Promise.all([...bridges.map((bridge) => bridge.stop()), producer.disconnect()]);
    await worker.stop();
    await Promise.all([connection.close(), client.connection.close()]);
    source.disconnect();
    target.disconnect();
  } finally {
    await stackDown({ directory, report: () => {} });
    rmSync(directory, { recursive: true, force: true });
  }
}

async function createTopics(kafka: Kafka, topics: readonly string[]): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({
    waitForLeaders: false,
    topics: topics.map((topic) => ({ topic, numPartitions: PARTITIONS })),
  });
  await vi.waitFor(() => admin.fetchTopicMetadata({ topics: [...topics] }), 10_000);
  await admin.disconnect();
}

/** Records of failed writes of these keys, as an application of that link makes them. */
export function recordsOf(link: string, keys: readonly string[]): { key: string; value: string }[] {
  const failedAt = new Date().toISOString();
  return keys.map((key) => ({
    key,
    value: JSON.stringify({
      specVersion: 1,
      id: randomUUID(),
      link,
      key,
      command: 'SET',
      outcome: 'refused',
      failedAt,
      error: { code: 'TIMEOUT', message: 'the target did not answer within 500 ms; the connection was reset' },
      origin: 'orders-api',
    }),
  }));
}

export async function produce(producer: Producer, topic: string, messages: { key: string; value: string }[]) {
  for (let begin = 0; begin < messages.length; begin += 5_000)
    await producer.send({ topic, messages: messages.slice(begin, begin + 5_000), acks: 1 });
}
