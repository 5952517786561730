/** Who reads the topic of failed writes now. */
import type { Logger } from 'pino';
import type { KafkaConfig } from '../config.js';
import { createKafka, explainDenied } from './client.js';

/**
 * How many members the consumer group has. One that was killed counts for 15 s more.
 * @throws Error in one line when Kafka does not say
 */
export async function readersOfTopic(config: KafkaConfig, logger: Logger): Promise<number> {
  const admin = createKafka(config, logger, { retries: 2, initialRetryTime: 200 }).admin();
  try {
    await admin.connect();
    const { groups } = await admin.describeGroups([config.groupId]);
    return groups[0]?.members.length ?? 0;
  } catch (error) {
    const reason = explainDenied(error, 'DESCRIBE', 'group', config.groupId);
    throw new Error(`Kafka at ${config.brokers.join(', ')} does not say: ${reason}`, { cause: error });
  } finally {
    await admin.disconnect().catch(() => {});
  }
}
