/** Waiting with a bound. */

/** A timer of Node that is to wait longer ends at once. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * Waits for `work`, but not longer than `timeoutMs` (0 and less: one turn of the event loop;
 * Infinity: 24 days).
 * @param started gets a function that sets the time anew, from then on, while it waits
 * @returns what `work` resolves with, or `late`
 * @throws what `work` rejects with
 */
export async function within<T>(
  timeoutMs: number,
  work: Promise<T>,
  started: (restart: (timeoutMs: number) => void) => void = () => {},
): Promise<T | 'late'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    const restart = (ms: number) => {
      clearTimeout(timer);
      timer = setTimeout(() => resolve('late'), Math.min(Math.max(0, ms), LONGEST_MS));
    };
    restart(timeoutMs);
    started(restart);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
