/**
 * An expiry is a point in time that each server holds against its own clock. Copied to a server
 * whose clock is ahead, it takes from the key what the clocks differ by: a live key may be gone at
 * once, and then both sides look equal to nobody.
 */
import type { ReconcileOptions } from './contract.js';
import { ReconcileError } from './errors.js';
import type { LinkMemory } from './link-memory.js';

/** The clocks of both servers, as they were seen on the way, in ms since the epoch. */
interface SeenClocks {
  readonly source: number;
  readonly target: number;
}

/**
 * What lies between the two looks at the clocks is taken for a difference of them where it matters:
 * then they are asked properly.
 */
const SEEN_WITHIN_MS = 2_000;

/**
 * Whether the target's clock would take half of the time, or more, that is left until these
 * expiries. What has expired by the source's clock as well may go.
 * @param key has the two servers whose clocks these are
 * @param expiries in ms since the epoch; negative ones are none
 * @returns why not to write them: that, or that a server does not say its time
 */
export async function shortened(
  memory: LinkMemory,
  key: Buffer,
  expiries: readonly number[],
  clocks: SeenClocks,
  { expiryToleranceMs }: ReconcileOptions,
): Promise<ReconcileError | null> {
  const soon = expiries.filter((at) => at >= 0 && at - clocks.target <= (at - clocks.source) / 2 + SEEN_WITHIN_MS);
  if (soon.length === 0) return null;
  const offset = await memory.clockOffset(key);
  // Not knowing is no reason to write.
  if (offset instanceof ReconcileError) return offset;
  if (offset.offsetMs - offset.uncertaintyMs <= expiryToleranceMs) return null;
  const { offsetMs } = offset;
  const isShortened = (at: number) => at > clocks.source && at - clocks.source <= 2 * offsetMs;
  if (!soon.some(isShortened)) return null;
  return new ReconcileError(
    'ClockOffset',
    'compare',
    `the target's clock is ${Math.round(offsetMs)} ms ahead of the source's, so the key or a field of it would be gone there ` +
      'long before its time: nothing was written; set the clocks (NTP)',
  );
}
