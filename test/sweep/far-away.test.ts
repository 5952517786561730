/** A sweep of servers that are far away: the way there is no load, and no reason to rest. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { connectRedis, type RedisPort } from '../../src/redis/index.js';
import type { SweepOptions } from '../../workflows/sweep-messages.js';
import { portWith, startLink, type TestLink } from '../engine/link.js';
import { startFarAway } from '../support/far-away.js';
import { swept } from './bed.js';

/** There, and the same back. */
const AWAY_MS = 200;
const KEYS = 2_000;

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
  const pairs = Object.fromEntries(Array.from({ length: KEYS }, (_, index) => [`user:${index}`, 'v']));
  await Promise.all([link.source, link.target].map(({ client }) => client.mset(pairs)));
});
afterAll(() => link?.stop());

/** Sweeps with that side far away: how much is asked there, and how much at once. */
async function asked(side: 'source' | 'target', options: SweepOptions = {}) {
  const way = await startFarAway(Number(new URL(link[side].url).port), AWAY_MS);
  const port = connectRedis({ url: `redis://127.0.0.1:${way.port}` }, { name: side, commandTimeoutMs: 30_000 });
  onTestFinished(async () => {
    await port.close();
    way.close();
  });
  const seen = { scans: 0, underWay: 0, atOnce: 0, tookMs: 0 };
  const watched: Partial<RedisPort> = {
    scanKeys(place, scan) {
      seen.scans += 1;
      return port.scanKeys(place, scan);
    },
    async digestKeys(keys) {
      seen.underWay += 1;
      seen.atOnce = Math.max(seen.atOnce, seen.underWay);
      const digest = await port.digestKeys(keys);
      seen.underWay -= 1;
      return digest;
    },
  };
  const begunAt = performance.now();
  const sides = { ...link.sides, [side]: portWith(port, watched) };
  const { summary } = await swept(sides, { rate: undefined, ...options });
  expect(summary).toMatchObject({ outcome: 'equal', compared: KEYS, targetOnly: 'counted' });
  return { ...seen, tookMs: performance.now() - begunAt };
}

test('pages are compared while others are on their way to a target that is far away', async () => {
  expect((await asked('target')).atOnce).toBeGreaterThan(4);
});

test('so they are at a rate, which is kept', async () => {
  const rate = 1_000;
  const { atOnce, tookMs } = await asked('target', { rate });
  expect(atOnce).toBeGreaterThan(4);
  expect(tookMs).toBeGreaterThan((0.9 * 1_000 * KEYS) / rate);
});

test('of a source that is far away a page has more keys, for it has to be awaited', async () => {
  // Of ten keys there would be two hundred pages.
  expect((await asked('source')).scans).toBeLessThan(100);
});
