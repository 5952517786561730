import { pino } from 'pino';
import { expect, test } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { readersOfTopic } from '../../src/kafka/readers.js';
import { bridgeBed, until } from './bridge-bed.js';

const link = { name: 'l', source: { url: 'redis://a' }, target: { url: 'redis://b' } };

test('by default each topic has a consumer group of its own', () => {
  const groupOf = (kafka: object) => {
    const config = parseConfig(JSON.stringify({ kafka: { brokers: ['a:1'], ...kafka }, links: [link] }), 'test', {});
    return config.intake === 'kafka' && config.kafka.groupId;
  };
  expect(groupOf({})).toBe('keymend-bridge.keymend.failed-writes');
  expect(groupOf({ topic: 'staging' })).toBe('keymend-bridge.staging');
  expect(groupOf({ topic: 'staging', groupId: 'mine' })).toBe('mine');
});

test('a bridge of another topic is refused where the group has a member already', async () => {
  const [production, staging] = [await bridgeBed({ partitions: 4 }), await bridgeBed({ partitions: 4 })];
  const bridge = await production.start();
  await until(() => expect(production.logs.map(({ msg }) => msg).join()).toContain('reads 4 partitions'));
  const { groupId } = production.config.kafka;
  const config = { ...staging.config, kafka: { ...staging.config.kafka, groupId } };
  await expect(staging.start({ config })).rejects.toThrow(
    new RegExp(
      `^the consumer group ${groupId} of ${config.kafka.topic} has a member that reads ` +
        `${production.config.kafka.topic} \\(keymend at [^)]+\\), so .*; give each topic a group of its own: kafka.groupId`,
    ),
  );
  // One of the same topic is welcome, and so is the other one when the group is free.
  await production.start();
  await production.produce({ id: 'a', key: 'a' });
  await production.untilCommitted(1, 0, 0, 0);
  await bridge.stop();
});

test('bridges of two releases share one topic, and the group says which they are', async () => {
  const bed = await bridgeBed({ partitions: 4 });
  await bed.start();
  await bed.start({ version: '1.2.3' });
  await until(() => expect(bed.logs.filter(({ msg }) => `${msg}`.startsWith('reads 2 partitions'))).toHaveLength(2));
  const releases = await readersOfTopic(bed.config.kafka, pino({ level: 'silent' }));
  expect([...releases].sort()).toEqual(['1.2.3', null]);
});

test('who joins the group later for another topic is told of, and when that is over', async () => {
  const [production, staging] = [await bridgeBed({ partitions: 4 }), await bridgeBed()];
  await production.start();
  await until(() => expect(production.logs.map(({ msg }) => msg).join()).toContain('reads 4 partitions'));
  const { groupId, topic } = production.config.kafka;
  const stranger = staging.kafka.consumer({ groupId });
  await stranger.connect();
  await stranger.subscribe({ topics: [staging.config.kafka.topic] });
  await stranger.run({ eachMessage: async () => {} });
  try {
    await until(() =>
      expect(production.warnings()).toContainEqual(
        expect.stringMatching(
          `^the consumer group ${groupId} of ${topic} has a member that reads ${staging.config.kafka.topic} `,
        ),
      ),
    );
  } finally {
    await stranger.disconnect();
  }
  await until(() =>
    expect(production.logs.map(({ msg }) => msg)).toContain(`the consumer group ${groupId} is ours alone again`),
  );
  for (const partition of [0, 1, 2, 3])
    await production.produceTo(partition, { id: `${partition}`, key: `key:${partition}` });
  await production.untilCommitted(1, 1, 1, 1);
});
