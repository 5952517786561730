/** What waits in Kafka: records that the bridge has not taken, and dead letters. */
import type { Admin } from 'kafkajs';
import type { Logger } from 'pino';
import type { KafkaConfig } from '../config.js';
import { askKafka } from './ask.js';
import { explainDenied, isOfGroup } from './client.js';

/** An Error, in one line, in place of what Kafka does not say. */
export interface TopicBacklog {
  /** Records behind the last committed offset of the group. */
  readonly lag: number | Error;
  /** Records that retention has left: of resolved letters as well as of open ones. */
  readonly deadLetters: number | Error;
}

/** Asks for offsets alone, so that it costs the same whatever the topics hold. Never rejects. */
export async function topicBacklog(config: KafkaConfig, logger: Logger): Promise<TopicBacklog> {
  const { topic, deadLetterTopic } = config;
  // Of its own each: kafkajs asks for all topics of a connection at once, and one may be hidden.
  const ask = async (name: string, question: (admin: Admin) => Promise<number>) => {
    try {
      return await askKafka(config, logger, question);
    } catch (error) {
      const reason = isOfGroup(error)
        ? explainDenied(error, 'DESCRIBE', 'group', config.groupId)
        : explainDenied(error, 'DESCRIBE', 'topic', name);
      return new Error(`Kafka at ${config.brokers.join(', ')} does not say: ${reason}`, { cause: error });
    }
  };
  const [lag, deadLetters] = await Promise.all([
    ask(topic, (admin) => lagOf(admin, config)),
    ask(deadLetterTopic, (admin) => lengthOf(admin, deadLetterTopic)),
  ]);
  return { lag, deadLetters };
}

async function lagOf(admin: Admin, { topic, groupId }: KafkaConfig): Promise<number> {
  // One behind the other: where both may not be seen the topic is named.
  const ends = await admin.fetchTopicOffsets(topic);
  const groups = await admin.fetchOffsets({ groupId, topics: [topic] });
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
