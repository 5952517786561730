/** What a log says of when its records were written, which any producer may have set. */

/**
 * No failed write is older. Seconds in place of milliseconds are of 1970, and what has no time has
 * -1.
 */
const EARLIEST_MS = Date.UTC(2020, 0);

/**
 * Whether this can be when a record was written, so that its age can be told.
 * @param now ms since the epoch
 */
export function isTimed({ timestamp }: { readonly timestamp: string }, now: number): boolean {
  const writtenAt = Number(timestamp);
  return writtenAt >= EARLIEST_MS && writtenAt <= now;
}
