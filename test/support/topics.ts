import type { Admin, ITopicConfig } from 'kafkajs';
import { eventually } from './eventually.js';

/**
 * Resolves once each partition of each topic has answered: that a broker tells of a topic does not
 * mean yet that it takes records, and kafkajs' own waiting gives up at once where it does not tell.
 */
export async function createTopics(admin: Admin, ...topics: readonly ITopicConfig[]): Promise<void> {
  await admin.createTopics({ waitForLeaders: false, topics: [...topics] });
  for (const { topic } of topics) await eventually(() => admin.fetchTopicOffsets(topic));
}
