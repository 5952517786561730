/**
 * For how long a cache stays stale: what a sample found to differ is looked at again, some minutes
 * later. Of the values that were compared it says how many were right, or became so in time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Aged, ListedDifference, SweepSummary } from '../../workflows/sweep-messages.js';
import { keyBytes } from '../events/failed-write-codec.js';
import type { Looks } from './looks.js';

export const WITHIN_MS: readonly number[] = [60_000, 300_000, 600_000];
/** An equal value that is met so late may have become so too late. */
const LATE_MS = 10_000;

/**
 * One look, when the last of them was found so long ago. Where one is looked at too late, because
 * it was found much earlier or nobody was there, it counts as stale also if it is right by now.
 * @param before of an earlier look
 * @throws as `Looks.compare`
 */
export async function agedBy(
  withinMs: number,
  listed: readonly ListedDifference[],
  { looks, signal, before }: { readonly looks: Looks; readonly signal: AbortSignal; readonly before: Aged | undefined },
): Promise<Aged> {
  const foundAt = listed.map((entry) => Date.parse(entry.foundAt ?? ''));
  const pauseMs = Math.max(...foundAt) + withinMs - Date.now();
  if (pauseMs > 0) await sleep(pauseMs, undefined, { signal });
  const compared = await looks.compare(listed.map(keyBytes));
  const inTime = Date.now() - withinMs - LATE_MS;
  const isRight = (index: number) => compared[index]![1].outcome === 'equal' && foundAt[index]! >= inTime;
  const stale = listed.filter((_, index) => !isRight(index)).length;
  // What was right once was so in time, whatever became of it since.
  return { withinMs, stale: Math.min(stale, before?.stale ?? stale), listed: listed.length };
}

/**
 * @param found how many differed; more than were listed, where not all could be, are taken to fare
 *   as those did
 * @param unknown how many could not be compared: they count as stale
 */
export function consistencyOf(
  aged: readonly Aged[],
  { found, unknown, compared }: { readonly found: number; readonly unknown: number; readonly compared: number },
): SweepSummary['consistent'] {
  if (compared === 0) return [];
  return aged.map(({ withinMs, stale, listed }) => {
    const stillStale = listed === 0 ? 0 : (found * stale) / listed;
    return { withinSeconds: withinMs / 1_000, part: Math.max(0, 1 - (stillStale + unknown) / compared) };
  });
}

/** In one line; none where nobody asked. */
export function describeConsistency(consistent: SweepSummary['consistent']): string[] {
  if (consistent === undefined || consistent.length === 0) return [];
  const each = consistent.map(({ withinSeconds, part }) => `${percent(part)} % within ${withinSeconds / 60} min`);
  return [`consistent at least ${each.join(', ')}`];
}

/** Never 100 unless it is. */
function percent(part: number): string {
  return `${Math.floor(100_000 * part) / 1_000}`;
}
