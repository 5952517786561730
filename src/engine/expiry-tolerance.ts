/**
 * Which difference of expiry is none.
 *
 * Servers store an expiry as a point in time, and say it the same whatever their clock shows
 * (before Redis 7 off by a tick). But a relative one, `EXPIRE key 60` on both sides, became a point
 * in time by each server's own clock: these two lie apart by what the clocks do, and by the delay
 * of the mirrored write. The configured tolerance is for the delay; the offset of the clocks is
 * measured and added on the side to which it moves the target's expiry. An offset that the
 * measurement can't tell from none adds nothing.
 */
import { ReconcileError } from './errors.js';
import type { LinkMemory } from './link-memory.js';

/** How much earlier and how much later than the source's the target's expiry may be, in ms. */
export interface ExpiryTolerance {
  readonly earlierMs: number;
  readonly laterMs: number;
}

/**
 * To expire or not to expire is always a difference. From the year 287396 on an expiry is no exact
 * `number` any more, and a few seconds are none.
 */
export function tolerates({ earlierMs, laterMs }: ExpiryTolerance, target: number, source: number): boolean {
  if (target < 0 || source < 0) return target === source;
  const precisionMs = source < 2 ** 53 ? 0 : source * 2 ** -51;
  return source - target <= earlierMs + precisionMs && target - source <= laterMs + precisionMs;
}

/** Servers before Redis 7 say an absolute expiry only to within a tick or two. */
const SLACK: ExpiryTolerance = { earlierMs: 2, laterMs: 2 };

/** Whether one server said the same expiry twice. */
export function sameExpiry(one: number, other: number): boolean {
  return tolerates(SLACK, one, other);
}

/**
 * The tolerance under which to compare these pairs of expiries. The clocks are only asked for where
 * their offset can matter.
 * @param key has the two servers that said all these expiries
 * @param configuredMs what the link tolerates between servers of one clock
 */
export async function toleranceFor(
  memory: LinkMemory,
  key: Buffer,
  configuredMs: number,
  pairs: readonly { readonly target: number; readonly source: number }[],
): Promise<ExpiryTolerance> {
  const configured = { earlierMs: configuredMs, laterMs: configuredMs };
  const clocksMatter = ({ target, source }: { target: number; source: number }) =>
    target >= 0 && source >= 0 && !tolerates(configured, target, source);
  if (!pairs.some(clocksMatter)) return configured;
  const clocks = await memory.clockOffset(key);
  // What keeps a server from answering shows in the work itself, and is reported there.
  if (clocks instanceof ReconcileError || Math.abs(clocks.offsetMs) <= clocks.uncertaintyMs) return configured;
  const added = Math.abs(clocks.offsetMs) + clocks.uncertaintyMs;
  return clocks.offsetMs > 0
    ? { earlierMs: configuredMs, laterMs: configuredMs + added }
    : { earlierMs: configuredMs + added, laterMs: configuredMs };
}
