import { expect, test } from 'vitest';
import { METADATA_AGE_MS } from '../../src/kafka/intake.js';
import { bridgeBed, until } from './bridge-bed.js';

test('what is written to an added partition is read while the bridges run', async () => {
  // What is promised is half a minute; the members hear of it one by one.
  expect(METADATA_AGE_MS).toBeLessThanOrEqual(10_000);
  const bed = await bridgeBed();
  await bed.produce({ id: 'a', key: 'before' });
  // The group's leader and one that is not: both must read what the leader gives them.
  await bed.start();
  await bed.untilCommitted(1);
  await bed.start();
  await until(() => expect(bed.logs.filter(({ msg }) => msg.startsWith('reads 0 partitions'))).toHaveLength(1));

  const { topic } = bed.config.kafka;
  await bed.admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] });
  await until(async () => {
    const { topics } = await bed.admin.fetchTopicMetadata({ topics: [topic] });
    expect(topics[0]!.partitions).toHaveLength(4);
  });
  for (const partition of [1, 2, 3])
    await until(() => bed.produceTo(partition, { id: `in ${partition}`, key: `in ${partition}` }));
  await bed.untilCommitted(1, 1, 1, 1);
  for (const partition of [1, 2, 3]) expect(await bed.signalledIds(`in ${partition}`)).toEqual([[`in ${partition}`]]);
});
