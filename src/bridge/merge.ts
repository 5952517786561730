/**
 * Makes one failed write of all that a batch holds of a key, so that a hot key costs its workflow
 * one event for each batch.
 */
import type { FailedWrite, MergedWrites } from '../../workflows/messages.js';
import { addFailedWrites, NOTHING_PENDING, representative } from '../../workflows/pending.js';
import type { ScopeHint } from '../../workflows/scope.js';

/** Adds nothing of a policy: of what may be in flight the time itself is what counts. */
const AS_IT_IS = { settleMs: 0, verify: 'auto' } as const;

/**
 * Stands for all of them also to a worker that does not know of `merged`: it is looked at as much
 * of the key, as late and as often as the most demanding of them asks for.
 * @param writes of one key in the order of the log, at least one, their times readable
 */
export function mergeWrites(writes: readonly FailedWrite[]): FailedWrite {
  if (writes.length === 1) return writes[0]!;
  const all = addFailedWrites(NOTHING_PENDING, writes, AS_IT_IS, Number.POSITIVE_INFINITY);
  const { verify: mayBeInFlight, hint, firstFailedAt, lastFailedAt } = all;
  const event = representative(all)!;
  const merged: MergedWrites = {
    count: all.count,
    ids: all.seen,
    firstFailedAt: isoTime(firstFailedAt!),
    lastFailedAt: isoTime(lastFailedAt!),
    ...(isSaidBy(event, hint) ? {} : { hint }),
  };
  return {
    ...event,
    outcome: writes.every(({ outcome }) => outcome === 'refused') ? 'refused' : 'unknown',
    idempotent: writes.every(({ idempotent }) => idempotent === true),
    failedAt: isoTime(lastFailedAt!),
    ...(mayBeInFlight && { receivedAt: isoTime(all.settledAt) }),
    merged,
  };
}

/** Whether command and members of the event are all that the hint knows. */
function isSaidBy({ command }: FailedWrite, { whole }: ScopeHint): boolean {
  return whole || command !== undefined;
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
