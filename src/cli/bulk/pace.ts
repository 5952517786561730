/** How fast many keys are told. */
import { setTimeout as sleep } from 'node:timers/promises';

/** What a slow answer has cost is made up for by so much. */
const BEHIND_MS = 100;

/**
 * @param rate times a second; undefined: as fast as it goes
 * @returns resolves when it is the next one's turn
 */
export function turns(rate: number | undefined): () => Promise<void> {
  if (rate === undefined) return async () => {};
  let next = performance.now();
  return async () => {
    const now = performance.now();
    const turn = Math.max(next, now - BEHIND_MS);
    next = turn + 1_000 / rate;
    if (turn > now) await sleep(turn - now);
  };
}
