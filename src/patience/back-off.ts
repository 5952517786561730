import { setTimeout as sleep } from 'node:timers/promises';

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

/**
 * Waits before the next attempt: 100 ms, 200 ms, … up to 5 s, each shortened by up to half at random so that many do not knock
 * at the same moment. Ends early, without an error, when aborted.
 * @param failed attempts so far, from 1
 */
export async function backOff(failed: number, signal: AbortSignal): Promise<void> {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failed - 1, 10));
  await sleep(longest * (0.5 + Math.random() / 2), undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
