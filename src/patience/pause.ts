/** How long to wait before trying again. */

/** The bounds of a growing pause, in ms. */
export interface Pauses {
  readonly firstMs: number;
  readonly longestMs: number;
}

/**
 * The pause after so many failures in a row: the first one, then twice as long each time, up to the
 * longest.
 * @param failed from 1
 * @returns ms
 */
export function pauseAfter(failed: number, { firstMs, longestMs }: Pauses): number {
  // Past some thirty doublings every pause is the longest, and a number that keeps growing would
  // become Infinity.
  return Math.min(longestMs, firstMs * 2 ** Math.min(failed - 1, 30));
}

/**
 * Shortened by up to a half at random, so that many who wait do not all knock at the same moment.
 */
export function jittered(ms: number): number {
  return ms * (0.5 + Math.random() / 2);
}
