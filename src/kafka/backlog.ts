/** What waits in Kafka: records that the bridge has not taken, and dead letters. */
import type { Admin } from 'kafkajs';
import type { Logger } from 'pino';
import type { KafkaConfig } from '../config.js';
import { createKafka, kafkaErrorMessage } from './client.js';

/** An Error, in one line, in place of what Kafka does not say. */
export interface TopicBacklog {
  /** Records behind the last committed offset of the group. */
  readonly lag: number | Error;
  /** Those that retention has left. */
  readonly deadLetters: number | Error;
}

/** Asks for offsets alone, so that it costs the same whatever the topics hold. Never rejects. */
export async function topicBacklog(config: KafkaConfig, logger: Logger): Promise<TopicBacklog> {
  const said = (error: unknown) =>
    new Error(`Kafka at ${config.brokers.join(', ')} does not say: ${kafkaErrorMessage(error)}`, { cause: error });
  const admin = createKafka(config, logger, { retries: 2, initialRetryTime: 200 }).admin();
  try {
    await admin.connect();
    const [lag, deadLetters] = await Promise.all([
      lagOf(admin, config).catch(said),
      lengthOf(admin, config.deadLetterTopic).catch(said),
    ]);
    return { lag, deadLetters };
  } catch (error) {
    return { lag: said(error), deadLetters: said(error) };
  } finally {
    await admin.disconnect().catch(() => {});
  }
}

async function lagOf(admin: Admin, { topic, groupId }: KafkaConfig): Promise<number> {
  const [ends, groups] = await Promise.all([
    admin.fetchTopicOffsets(topic),
    admin.fetchOffsets({ groupId, topics: [topic] }),
  ]);
  const committed = new Map(groups[0]?.partitions.map(({ partition, offset }) => [partition, BigInt(offset)]));
  return sum(ends, ({ partition, low }) => {
    // Of what retention has removed nothing waits; a group that has committed nothing begins there.
    const next = committed.get(partition) ?? -1n;
    return next > BigInt(low) ? next : BigInt(low);
  });
}

async function lengthOf(admin: Admin, topic: string): Promise<number> {
  return sum(await admin.fetchTopicOffsets(topic), ({ low }) => BigInt(low));
}

type Ends = Awaited<ReturnType<Admin['fetchTopicOffsets']>>;

function sum(ends: Ends, from: (end: Ends[number]) => bigint): number {
  const total = ends.reduce((total, end) => {
    const waits = BigInt(end.high) - from(end);
    return waits > 0n ? total + waits : total;
  }, 0n);
  return Number(total);
}
