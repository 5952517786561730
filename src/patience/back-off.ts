import { setTimeout as sleep } from 'node:timers/promises';
import { jittered, pauseAfter } from './pause.js';

const PAUSES = { firstMs: 100, longestMs: 5_000 };

/**
 * Waits before the next attempt: 100 ms, 200 ms, … up to 5 s, each shortened by up to half at
 * random. Ends early, without an error, when aborted.
 * @param failed attempts so far, from 1
 */
export async function backOff(failed: number, signal: AbortSignal): Promise<void> {
  await sleep(jittered(pauseAfter(failed, PAUSES)), undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
