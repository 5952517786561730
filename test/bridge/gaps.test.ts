import { ulid } from 'ulid';
import { expect, test } from 'vitest';
import { bridgeBed, toldOf, until } from './bridge-bed.js';

test('records that were removed while the bridge was away are a gap of every link', async () => {
  const links = [ulid(), ulid()];
  const bed = await bridgeBed({ partitions: 2, links });
  const { topic } = bed.config.kafka;
  await bed.produce({ id: 'a', key: 'a' }, { id: 'b', key: 'b' });
  const bridge = await bed.start();
  await bed.untilCommitted(2, 0);
  await bridge.stop();
  await bed.produce({ id: 'c', key: 'c' }, { id: 'd', key: 'd' }, { id: 'e', key: 'e' });
  await bed.admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] });

  const again = await bed.start();
  await bed.untilCommitted(5, 0);
  expect(await bed.signalledIds('e')).toEqual([['e']]);
  const message =
    `2 records of ${topic}[0] (offsets 2 to 3) were removed before they were read: raise the retention of the topic, ` +
    'and compare both sides';
  for (const link of links)
    expect(await toldOf(bed, link)).toEqual([
      { id: `${topic}[0] from 2 to 3`, cause: 'removed', records: 2, message, noticedAt: expect.any(String) },
    ]);
  const line = `${message}; \`keymend status\` shows it until it is acknowledged`;
  expect(bed.warnings().filter((text) => text === line)).toHaveLength(1);
  await again.stop();
});

test('records that are removed in front of a bridge that runs are a gap', async () => {
  const link = ulid();
  const bed = await bridgeBed({ links: [link] });
  const { topic } = bed.config.kafka;
  const { client, proxy } = await bed.clientThroughProxy();
  const bridge = await bed.start({ client });
  await bed.produce({ id: 'a', key: 'a' });
  await bed.untilCommitted(1);
  proxy.cut();
  // More than one fetch takes, so that something is left to remove while it waits for Temporal.
  const origin = 'x'.repeat(200);
  const count = 6_000;
  for (let from = 0; from < count; from += 1_500)
    await bed.produce(...Array.from({ length: 1_500 }, (_, index) => ({ id: `${from + index}`, key: 'b', origin })));
  await until(() => expect(bridge.counters.received).toBeGreaterThan(1));
  const held = bridge.counters.received;
  expect(held).toBeLessThan(count);
  await bed.admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: `${count}` }] });
  proxy.restore();
  await bed.untilCommitted(count + 1);
  await until(async () => expect(await toldOf(bed, link)).toHaveLength(1));
  const [gap] = await toldOf(bed, link);
  expect(gap).toMatchObject({
    id: `${topic}[0] from ${held} to ${count - 1}`,
    cause: 'removed',
    records: count - held,
  });
});

test('a topic that was made anew and filled again within a fetch is read from its beginning, and is a gap', async () => {
  const link = ulid();
  const bed = await bridgeBed({ links: [link] });
  const { topic } = bed.config.kafka;
  const { client, proxy } = await bed.clientThroughProxy();
  await bed.start({ client });
  await bed.produce({ id: 'a', key: 'a' }, { id: 'b', key: 'b' });
  await bed.untilCommitted(2);
  // It holds a batch, and asks for the next when another topic stands there.
  proxy.cut();
  await bed.produce({ id: 'c', key: 'c' });
  await until(() => expect(bed.warnings().join()).toContain('Temporal does not take signals'));
  await bed.admin.deleteTopics({ topics: [topic] });
  await until(() => bed.admin.createTopics({ waitForLeaders: false, topics: [{ topic, numPartitions: 1 }] }));
  const ids = Array.from({ length: 10 }, (_, index) => `new ${index}`);
  for (const id of ids) await until(() => bed.produceTo(0, { id, key: id }));
  proxy.restore();
  await until(async () => expect(await bed.committed()).toEqual([10]));
  for (const id of ids) await until(async () => expect((await bed.signalledIds(id)).flat()).toContain(id));
  await until(async () => expect(await toldOf(bed, link)).not.toEqual([]));
  expect(await toldOf(bed, link)).toContainEqual(expect.objectContaining({ cause: 'recreated', records: null }));
});
