/** Stores of dead letters: a topic, a stream on one server, the streams of a Cluster. */
import { Kafka, logLevel } from 'kafkajs';
import { pino } from 'pino';
import { ulid } from 'ulid';
import { onTestFinished } from 'vitest';
import { parseConfig } from '../../src/config.js';
import type { Letter } from '../../src/dead-letters/letter.js';
import { openLetters } from '../../src/dead-letters/open.js';
import type { LetterStore } from '../../src/dead-letters/store.js';
import type { DeadLetter } from '../../src/events/dead-letter.js';
import type { DeadLetters } from '../../src/events/dead-letters.js';
import { connectDeadLetters } from '../../src/kafka/dead-letters.js';
import { createLinkDeadLetters } from '../../src/outbox/dead-letters.js';
import { startCluster } from '../support/cluster.js';
import { startRedis } from '../support/redis.js';
import { stack } from '../support/services.js';
import { createTopics } from '../support/topics.js';

export const LINK = 'east-to-west';
const SILENT = pino({ level: 'silent' });

interface StoreBed {
  readonly writing: DeadLetters;
  /** Another one each time, which knows nothing of the others. */
  open(): Promise<LetterStore>;
}

/** @param timestamps whose time a record has: of its producer, or of the broker */
export async function topicBed(partitions = 3, timestamps: 'CreateTime' | 'LogAppendTime' = 'CreateTime') {
  const topic = `letters-${ulid().toLowerCase()}`;
  const { brokers } = stack().kafka;
  const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const configEntries = [{ name: 'message.timestamp.type', value: timestamps }];
  await createTopics(admin, { topic, numPartitions: partitions, configEntries });
  const links = [{ name: LINK, source: { url: 'redis://a' }, target: { url: 'redis://b' } }];
  const config = parseConfig(JSON.stringify({ kafka: { brokers, deadLetterTopic: topic }, links }), 'bed', {});
  const writing = await connectDeadLetters(kafka, topic);
  onTestFinished(async () => {
    await Promise.all([admin.disconnect(), writing.close()]);
  });
  return { topic, kafka, admin, writing, open: () => opened(config) };
}

async function streamsBed(source: object): Promise<StoreBed> {
  const links = [{ name: LINK, source, target: { url: 'redis://127.0.0.1:1' } }];
  const config = parseConfig(JSON.stringify({ intake: 'redis-stream', links }), 'bed', {});
  const writing = createLinkDeadLetters(config);
  onTestFinished(() => writing.close());
  return { writing, open: () => opened(config) };
}

/** By name, for `each`. */
export const BEDS: Readonly<Record<string, () => Promise<StoreBed>>> = {
  topic: () => topicBed(3, 'LogAppendTime'),
  stream: async () => {
    const server = await startRedis();
    onTestFinished(() => server.stop());
    return streamsBed({ url: server.url });
  },
  'streams of a Cluster': async () => {
    const cluster = await startCluster(3);
    onTestFinished(() => cluster.stop());
    return streamsBed({ cluster: cluster.nodes.map(({ url }) => url) });
  },
};

async function opened(config: ReturnType<typeof parseConfig>): Promise<LetterStore> {
  const store = await openLetters(config, SILENT);
  onTestFinished(() => store.disconnect());
  return store;
}

export function letter(key: string, headers: Readonly<Record<string, string>> = {}): DeadLetter {
  const value = { specVersion: 1, id: ulid(), link: LINK, key, failedAt: '2026-11-20T23:00:00.000Z' };
  const known = { 'dlq.reason': 'attempts-exhausted', 'dlq.error.type': 'TargetReadOnly', 'dlq.link': LINK };
  return { key: Buffer.from(key), value: Buffer.from(JSON.stringify(value)), headers: { ...known, ...headers } };
}

export async function all(store: LetterStore, range: Parameters<LetterStore['letters']>[0] = {}): Promise<Letter[]> {
  const letters: Letter[] = [];
  for await (const one of store.letters(range)) letters.push(one);
  return letters;
}

export const keysOf = (letters: readonly Letter[]) => letters.map(({ record }) => String(record.key)).sort();
