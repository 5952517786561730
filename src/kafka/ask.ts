/** One question to Kafka on a connection of its own: somebody waits for the answer. */
import type { Admin } from 'kafkajs';
import type { Logger } from 'pino';
import type { KafkaConfig } from '../config.js';
import { createKafka } from './client.js';

/** @throws what `question` threw, and of kafkajs when Kafka does not answer */
export async function askKafka<T>(
  config: KafkaConfig,
  logger: Logger,
  question: (admin: Admin) => Promise<T>,
): Promise<T> {
  const admin = createKafka(config, logger, { retries: 2, initialRetryTime: 200 }).admin();
  try {
    await admin.connect();
    // Without it kafkajs knows no broker that it could ask where a group is: it fails, and pauses
    // before it tries again.
    await admin.describeCluster();
    return await question(admin);
  } finally {
    await admin.disconnect().catch(() => {});
  }
}
