/** Questions that share one time: what is not answered by then is not known. */
import { within } from '../../patience/within.js';

/** Resolves with null when it is late, or fails. */
export type InTime = <T>(work: () => Promise<T>) => Promise<T | null>;

export function inTime(timeoutMs: number): InTime {
  const deadline = performance.now() + timeoutMs;
  return async (work) => {
    if (performance.now() > deadline) return null;
    const working = work();
    working.catch(() => {}); // It may fail when nobody waits any more.
    const found = await within(deadline - performance.now(), working).catch(() => null);
    return found === 'late' ? null : found;
  };
}
