import { expect, it, onTestFinished, vi } from 'vitest';
import { untilDeadline } from '../../src/patience/until-deadline.js';

const MINUTE_MS = 60_000;
const SHORT = { firstMs: 1, longestMs: 4 };
const LONG = { firstMs: 60 * MINUTE_MS, longestMs: 60 * MINUTE_MS };

/** An attempt that fails as often as said. */
function failing(times: number) {
  let made = 0;
  return vi.fn(async () => (++made > times ? null : new Error(`failure ${made}`)));
}

it('an attempt is repeated until it works', async () => {
  const attempt = failing(4);
  const deadline = performance.now() + MINUTE_MS;
  await untilDeadline(attempt, { deadline, pauses: SHORT, isClosed: () => false });
  expect(attempt).toHaveBeenCalledTimes(5);
});

it('when the next pause would pass the deadline, the last failure is thrown', async () => {
  const attempt = failing(1);
  const deadline = performance.now() + MINUTE_MS;
  const work = untilDeadline(attempt, { deadline, pauses: LONG, isClosed: () => false });
  await expect(work).rejects.toThrow('failure 1');
});

it('a clock that is set does not move the deadline', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const deadline = performance.now() + MINUTE_MS;
  const work = untilDeadline(failing(2), { deadline, pauses: SHORT, isClosed: () => false });
  vi.setSystemTime(Date.now() + 60 * MINUTE_MS);
  await work;
});

it('no attempt follows a rejection, nor what was closed in a pause', async () => {
  const deadline = performance.now() + MINUTE_MS;
  const inVain = vi.fn(() => Promise.reject(new Error('in vain')));
  const rejected = untilDeadline(inVain, { deadline, pauses: SHORT, isClosed: () => false });
  await expect(rejected).rejects.toThrow('in vain');
  expect(inVain).toHaveBeenCalledTimes(1);

  const attempt = failing(1);
  const isClosed = vi.fn(() => true).mockReturnValueOnce(false);
  await expect(untilDeadline(attempt, { deadline, pauses: SHORT, isClosed })).rejects.toThrow('failure 1');
  expect(attempt).toHaveBeenCalledTimes(1);
});
