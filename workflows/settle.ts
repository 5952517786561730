/**
 * Settle: the time that a write which may still be in flight needs to land, before a comparison
 * means anything. The one rule for the bridge, which delays the start of a workflow by it, and for
 * the workflow itself. Runs under way replay it: a change that moves a timer must
 * leave earlier runs as they are.
 */
import type { FailedWrite } from './messages.js';

type Told = Pick<Partial<FailedWrite>, 'failedAt' | 'receivedAt' | 'receivedAgoMs' | 'outcome' | 'idempotent'>;

/**
 * Whether the write may land after all, or land a second time and do harm. What is not known is
 * taken for that.
 */
export function mayBeInFlight({ outcome, idempotent }: Told): boolean {
  return outcome !== 'refused' || idempotent !== true;
}

/**
 * When the write failed, in ms since the epoch: never later than now, for a producer's clock may
 * run ahead.
 */
export function failedAtOf({ failedAt }: Told, now: number): number {
  const parsed = Date.parse(failedAt ?? '');
  return Number.isNaN(parsed) ? now : Math.min(parsed, now);
}

/**
 * Before this, in ms since the epoch, a comparison means nothing; 0: nothing is in flight. Counted
 * from when the bridge has read the write: by the clock of a producer that is behind it would have
 * landed long ago. By the clock of a bridge that is behind, too: what that says of how long ago it
 * was holds whatever it shows.
 * @param toldAt when the bridge has told of it, or later; by the clock of `now`
 */
export function settledAt(write: Told, settleMs: number, now: number, toldAt = now): number {
  if (!mayBeInFlight(write)) return 0;
  const readAt = failedAtOf({ failedAt: write.receivedAt ?? write.failedAt ?? '' }, now);
  const { receivedAgoMs } = write;
  const isKnown = typeof receivedAgoMs === 'number' && receivedAgoMs >= 0;
  return Math.max(readAt, isKnown ? toldAt - receivedAgoMs : 0) + settleMs;
}

/**
 * How long an attempt that was given up without a word may still write: the time of a command (2 s)
 * and what the engine goes on for behind a write (`HEALING_MS`, 3 s), with room.
 */
export const OUTLIVES_MS = 6_000;

/** How long what an attempt at a key has written, or may have, needs to land. In ms. */
export function landsWithin(effect: 'nothing' | 'wrote' | 'unknown', settleMs: number): number {
  return { nothing: 0, wrote: settleMs, unknown: Math.max(settleMs, OUTLIVES_MS) }[effect];
}

/** How often a repair is looked at again before the key counts as contended. */
export const VERIFY_ROUNDS = 5;
