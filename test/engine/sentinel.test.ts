/** A side that Sentinels name: after their failover the link works on the new master. */
import { afterEach, expect, test } from 'vitest';
import { type KeyResult, reconcileKeys } from '../../src/engine/index.js';
import { connectRedis, RedisFailure } from '../../src/redis/index.js';
import { isPermanent } from '../../workflows/error-types.js';
import { startRedis } from '../support/redis.js';
import { FAILOVERS, startSentinelGroup } from '../support/sentinel.js';
import { DEFAULT_OPTIONS } from './link.js';

const KEY = Buffer.from('k');

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

test.each(
  (['source', 'target'] as const).flatMap((which) => FAILOVERS.map((failover) => [which, ...failover] as const)),
)(
  'a failover of the %s, %s, is followed: nothing newer is undone, and nobody is asked for help',
  async (which, _how, failOver) => {
    const group = await startSentinelGroup('orders');
    cleanups.push(() => group.stop());
    const other = await startRedis();
    cleanups.push(() => other.stop());
    const urls = group.sentinels.map(({ host, port }) => `redis://${host}:${port}`);
    const followed = connectRedis({ sentinel: { name: group.name, urls } }, { name: which });
    const fixed = connectRedis({ url: other.url }, { name: 'the other side' });
    cleanups.push(() => Promise.all([followed.close(), fixed.close()]));
    const sides = which === 'source' ? { source: followed, target: fixed } : { source: fixed, target: followed };
    const reconcile = async (): Promise<KeyResult> => (await reconcileKeys(sides, [{ key: KEY }], DEFAULT_OPTIONS))[0]!;
    await (which === 'source' ? group.master : other).client.set(KEY, 'v');
    expect(await reconcile()).toMatchObject({ outcome: 'repaired' });

    await group.replicated();
    await failOver(group);
    await (which === 'source' ? group.master : other).client.set(KEY, 'newer');
    // As a mirrored write of the application, which has followed the failover, would leave it.
    if (which === 'source') await other.client.set(KEY, 'newer');
    const results: KeyResult[] = [];
    await expect
      .poll(async () => results[results.push(await reconcile()) - 1], { interval: 100 })
      .toMatchObject({ outcome: which === 'source' ? 'equal' : 'repaired' });
    expect(results.filter((result) => result.outcome === 'failed' && isPermanent(result.error.type))).toEqual([]);
    if (which === 'source') expect(results.filter(({ outcome }) => outcome === 'repaired')).toEqual([]);
    for (const server of [other, group.master]) expect(await server.client.get(KEY)).toBe('newer');
  },
);

test('what was compared at one master is not written at the next, whose clock says nothing of how late it is', async () => {
  const group = await startSentinelGroup('orders');
  cleanups.push(() => group.stop());
  const urls = group.sentinels.map(({ host, port }) => `redis://${host}:${port}`);
  const port = connectRedis({ sentinel: { name: group.name, urls } }, { name: 'target', commandTimeoutMs: 3_600_000 });
  cleanups.push(() => port.close());
  await group.master.client.hset('k', { a: 'old', b: 'old' });
  const observe = async () =>
    [await port.inspect([KEY]), await port.inspectMembers([{ key: KEY, members: [Buffer.from('a')] }])] as const;
  const write = async ([[whole], [members]]: Awaited<ReturnType<typeof observe>>) => {
    if (whole instanceof RedisFailure || members instanceof RedisFailure) return [];
    const part = {
      key: KEY,
      members: [Buffer.from('a')],
      observed: members!,
      type: 'hash',
      cells: [Buffer.from('+new')],
    };
    return [
      ...(await port.repairMembers([{ ...part, expiry: null }])),
      ...(await port.repair([{ key: KEY, observed: whole!, change: { action: 'delete' } }])),
    ];
  };
  const before = await observe();
  await group.replicated();
  await FAILOVERS[0]![1](group);
  await expect.poll(async () => await port.health()).toMatchObject({ isMaster: true });
  expect(await write(before)).toEqual(['changed', 'changed']);
  expect(await group.master.client.hgetall('k')).toEqual({ a: 'old', b: 'old' });
  const [wrote] = await write(await observe());
  expect(wrote).toBe('repaired');
});
