import type { Admin, ITopicConfig } from 'kafkajs';
import { eventually } from './eventually.js';

/** As the documents say of one with dead letters. */
const KEEPS_ALL = { name: 'retention.ms', value: '-1' };

/**
 * Resolves once each partition of each topic has answered: that a broker tells of a topic does not
 * mean yet that it takes records, and kafkajs' own waiting gives up at once where it does not tell.
 */
export async function createTopics(admin: Admin, ...topics: readonly ITopicConfig[]): Promise<void> {
  const made = topics.map(({ configEntries = [], ...more }) => {
    const isSaid = configEntries.some(({ name }) => name === KEEPS_ALL.name);
    return { ...more, configEntries: isSaid ? configEntries : [KEEPS_ALL, ...configEntries] };
  });
  await admin.createTopics({ waitForLeaders: false, topics: made });
  for (const { topic } of topics) await eventually(() => admin.fetchTopicOffsets(topic));
}
