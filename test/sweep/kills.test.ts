/** A sweep that is cut off again and again reads little twice, and says the same. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SweepState, SweepSummary } from '../../workflows/sweep-messages.js';
import { portWith, startLink, type TestLink } from '../engine/link.js';
import { swept } from './bed.js';

const KEYS = 60_000;
const KILLS = 20;
/** The page at hand, the one that was asked for, and what a server adds to them. */
const LOST_KEYS = (0.02 * 1_000_000) / KILLS;

let link: TestLink;
beforeAll(async () => {
  link = await startLink(['--enable-debug-command', 'local'], ['--enable-debug-command', 'local']);
});
afterAll(() => link?.stop());

const whatIsSaid = ({ outcome, compared, differing, listed, targetOnly }: SweepSummary) => ({
  outcome,
  compared,
  differing,
  listed: listed.map(({ key, difference }) => [key, difference]).sort(),
  targetOnly,
});

/**
 * Three keys with a quarter of all between them, as a sweep meets them. What differs is looked at
 * again before the next is met, so that a kill behind one costs no page that waits for another.
 */
async function farApart(client: Redis): Promise<[string, string, string]> {
  const keys: string[] = [];
  for await (const page of client.scanStream({ count: 1_000 })) keys.push(...(page as string[]));
  return [keys[KEYS / 4]!, keys[KEYS / 2]!, keys[(KEYS * 3) / 4]!];
}

test('20 kills read at most 2 % of a million keys again, and the report is the same', async () => {
  const { source, target, sides } = link;
  for (const { client } of [source, target]) await client.call('DEBUG', 'POPULATE', KEYS, 'user', 20);
  const [missing, other, gone] = await farApart(source.client);
  await target.client.del(missing, gone);
  await target.client.set(other, 'other');
  await target.client.set('left:1', 'alone');
  const undisturbed = (await swept(sides)).summary!;

  let read = 0;
  const counting = portWith(sides.source, {
    async scanKeys(place, scan) {
      const page = await sides.source.scanKeys(place, scan);
      if ('keys' in page) read += page.keys.length;
      return page;
    },
  });
  let state: SweepState | undefined;
  for (let kill = 1; kill <= KILLS; kill++) {
    const ended = new AbortController();
    const onProgress = (reached: SweepState) => {
      // As it comes back from Temporal.
      state = JSON.parse(JSON.stringify(reached)) as SweepState;
      const passed = state.parts.filter(({ side }) => side === 'source').reduce((sum, part) => sum + part.passed, 0);
      if (passed >= (kill * KEYS) / (KILLS + 1)) ended.abort();
    };
    const { summary } = await swept({ ...sides, source: counting }, {}, { state, onProgress, signal: ended.signal });
    expect(summary).toBeNull();
  }
  const { summary } = await swept({ ...sides, source: counting }, {}, { state });
  expect(whatIsSaid(summary!)).toEqual(whatIsSaid(undisturbed));
  expect(read - KEYS).toBeLessThanOrEqual(KILLS * LOST_KEYS);
});
