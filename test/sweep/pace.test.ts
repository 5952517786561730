/** How long a sweep rests. */
import { beforeEach, expect, test, vi } from 'vitest';
import { restBehind, restBehindLook } from '../../src/sweep/pace.js';

const sleep = vi.hoisted(() => vi.fn(async (_ms: number) => {}));
vi.mock('node:timers/promises', () => ({ setTimeout: sleep }));
beforeEach(() => void sleep.mockClear());

const { signal } = new AbortController();
const DAY_MS = 24 * 60 * 60_000;
const rested = () => sleep.mock.calls.map(([ms]) => ms);

test('at a rate so low that a page takes longer than a timer may be, it rests all the same', async () => {
  await restBehind({ busyMs: 1, waitedMs: 1, passedMs: 0, keys: 100 }, 100 / ((60 * DAY_MS) / 1_000), signal);
  expect(rested().reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(60 * DAY_MS, 0);
  expect(Math.max(...rested())).toBeLessThan(2 ** 31);
});

test('behind a look at keys it rests at the rate, and at a low one gently', async () => {
  const look = { busyMs: 30, waitedMs: 30, passedMs: 40, keys: 500 };
  await restBehindLook(look, 10_000, signal);
  await restBehindLook(look, 10, signal);
  await restBehindLook(look, undefined, signal);
  expect(rested()).toEqual([10, 70, 70]);
});
