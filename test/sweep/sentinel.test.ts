/** A side that Sentinels name: behind a failover its part begins anew at the new master. */
import { expect, onTestFinished, test } from 'vitest';
import { connectRedis } from '../../src/redis/index.js';
import type { SweepState } from '../../workflows/sweep-messages.js';
import { eventually } from '../support/eventually.js';
import { startRedis } from '../support/redis.js';
import { startSentinelGroup } from '../support/sentinel.js';
import { swept } from './bed.js';

test('a failover of the source in the middle costs what was gone through there, and no key', async () => {
  const [group, target] = await Promise.all([startSentinelGroup('orders'), startRedis()]);
  const urls = group.sentinels.map(({ host, port }) => `redis://${host}:${port}`);
  const sides = {
    source: connectRedis({ sentinel: { name: group.name, urls } }, { name: 'source' }),
    target: connectRedis({ url: target.url }, { name: 'target' }),
  };
  onTestFinished(async () => {
    await Promise.all([sides.source.close(), sides.target.close()]);
    await Promise.all([group.stop(), target.stop()]);
  });
  const values = Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`user:${index}`, 'value']));
  await Promise.all([group.master.client.mset(values), target.client.mset(values)]);
  await target.client.del('user:1');
  await group.replicated();
  const found = new AbortController();
  let { state } = await swept(
    sides,
    { rate: 4_000 },
    { signal: found.signal, onProgress: ({ parts }) => parts[0]!.tally.listed.length > 0 && found.abort() },
  );
  expect(state.parts[0]!.tally.differing.missing).toBe(1);
  await group.killMaster();
  const onProgress = (reached: SweepState) => {
    state = reached;
  };
  // As Temporal does it: what failed meanwhile is tried again.
  const { summary } = await eventually(() => swept(sides, {}, { state, onProgress }));
  expect(summary).toMatchObject({ compared: 2_000, differing: { missing: 1, extra: 0 }, redone: 1 });
});
