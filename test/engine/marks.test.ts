/** A repair leaves a mark beside the key, as DualWriters do: they learn what they land on. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { markOf } from '../../src/redis/index.js';
import { startLink, type TestLink } from './link.js';
import { reconcileAnySize } from './topology.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink([], [], { largeValues: { elements: 100, bytes: 10_000 } });
});
afterEach(() => link.clear());
afterAll(() => link.stop());

const large = Array.from({ length: 200 }, (_, element) => `${element}`);

it.each<[string, (source: TestLink['source']['client'], target: TestLink['target']['client']) => Promise<unknown>]>([
  ['restores', (source) => source.set('k', 'v')],
  ['deletes', (_, target) => target.set('k', 'v')],
  [
    'sets an expiry',
    async (source, target) => {
      await target.set('k', 'v');
      await source.set('k', 'v', 'EX', 100);
    },
  ],
  ['builds beside it', (source) => source.rpush('k', ...large)],
  ['goes through by member', (source) => source.sadd('k', ...large)],
])('where it %s', async (_, diverge) => {
  const { source, target } = link;
  await diverge(source.client, target.client);
  expect(await reconcileAnySize(link.sides, [{ key: Buffer.from('k'), allowDelete: true }])).toMatchObject([
    { outcome: 'repaired' },
  ]);
  const mark = markOf(Buffer.from('k'));
  expect(await target.client.get(mark)).toBe('keymend');
  expect(await target.client.pttl(mark)).toBeGreaterThan(0);
  await target.client.del(mark);
  expect(await reconcileAnySize(link.sides, [{ key: Buffer.from('k') }])).toMatchObject([{ outcome: 'equal' }]);
  expect(await target.client.exists(mark)).toBe(0);
});

it.each(['a{tag}b', '{a', '{}', 'a}b', '{}{a}'])('under the name that the writers know (%s)', async (key) => {
  await link.source.client.set(key, 'v');
  await link.reconcile(key);
  expect(await link.target.client.keys('keymend:writer:*')).toEqual([markOf(Buffer.from(key)).toString()]);
});
