/** Who reads the topic of failed writes now. */
import type { Admin } from 'kafkajs';
import type { Logger } from 'pino';
import type { KafkaConfig } from '../config.js';
import { askKafka } from './ask.js';
import { explainDenied } from './client.js';
import { versionOfMember } from './member-version.js';

/**
 * The members of the consumer group. One that was killed counts for 15 s more.
 * @returns the release of each; null: it does not say
 * @throws Error in one line when Kafka does not say
 */
export async function readersOfTopic(config: KafkaConfig, logger: Logger): Promise<readonly (string | null)[]> {
  const { groupId } = config;
  return asked(config, logger, { kind: 'group', name: groupId }, async (admin) => {
    const { groups } = await admin.describeGroups([groupId]);
    return (groups[0]?.members ?? []).map(({ memberMetadata }) => versionOfMember(memberMetadata));
  });
}

/**
 * How many can read it at once: each partition is read by one of them.
 * @throws as `readersOfTopic`
 */
export async function partitionsOfTopic(config: KafkaConfig, logger: Logger): Promise<number> {
  const { topic } = config;
  return asked(config, logger, { kind: 'topic', name: topic }, async (admin) => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    return topics[0]!.partitions.length;
  });
}

async function asked<T>(
  config: KafkaConfig,
  logger: Logger,
  of: { readonly kind: 'group' | 'topic'; readonly name: string },
  question: (admin: Admin) => Promise<T>,
): Promise<T> {
  try {
    return await askKafka(config, logger, question);
  } catch (error) {
    const reason = explainDenied(error, 'DESCRIBE', of.kind, of.name);
    throw new Error(`Kafka at ${config.brokers.join(', ')} does not say: ${reason}`, { cause: error });
  }
}
