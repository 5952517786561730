/** What a run carries through its life and hands to the next one at continue-as-new. Plain data. */
import type { Letter } from './activities.js';
import type { FailedWrite, LastError, Outcome, ReconcileKeyInput, SidesSeen, Tried } from './messages.js';
import type { ScopeHint } from './scope.js';

/**
 * The input of a run: of the first one what a client gives, of the others also what the run before
 * has left.
 */
export interface RunInput extends ReconcileKeyInput {
  /** Only set by continue-as-new. */
  readonly carried?: CarriedState | undefined;
}

/** What a run hands to the next one at continue-as-new. Plain data. */
export interface CarriedState {
  readonly pending: Pending;
  /** `published`: its dead-letter record is acknowledged. */
  readonly escalation: 'none' | 'unpublished' | 'published';
  /** The search attributes as they were written last. Absent: a run of an earlier version. */
  readonly shown?: ShownAttributes | undefined;
  readonly attempts: number;
  readonly lastOutcome: Outcome | null;
  /** Until when a person vouches for a delete, in ms since the epoch. */
  readonly allowDeleteUntil: number | null;
  /** When the attempts of the round under way began, in ms since the epoch; null: none was made. */
  readonly triesBegunAt: number | null;
  /**
   * Since when the target may have been written without having been compared again, in ms since the
   * epoch.
   */
  readonly unverifiedSince: number | null;
  /** The round under way has written the target. Absent: a run of an earlier version. */
  readonly hasRepaired?: boolean | undefined;
  /** What the round under way has written is to be compared again in any case. */
  readonly mustLookAgain?: boolean | undefined;
  /** What a person asked for and did not get yet. */
  readonly skipAsked?: string | null | undefined;
  readonly retryAsked?: boolean | undefined;
  /** A round of this key repaired it. */
  readonly repaired: boolean;
  readonly lastError: LastError | null;
  /** As in `KeyStatus`. Absent, like those below: a run of an earlier version. */
  readonly tried?: readonly Tried[] | undefined;
  readonly sides?: SidesSeen | null | undefined;
  /** The one of the escalation. */
  readonly letter?: Letter | null | undefined;
}

/** What a run shows of itself for a search; null: nothing. */
export type ShownAttributes = Readonly<Record<'state' | 'error', string | null>>;
export const NO_ATTRIBUTES: ShownAttributes = { state: null, error: null };

/**
 * What is still to reconcile; a plain value, changed only by the functions of `pending.ts`. Times
 * in ms since the epoch.
 */
export interface Pending {
  /**
   * Ids of the last failed writes, oldest first, bounded: a redelivered record is known by its id.
   */
  readonly seen: readonly string[];
  /** Failed writes that no reconcile has covered. */
  readonly count: number;
  readonly hint: ScopeHint;
  /** Without what is in the hint. */
  readonly newest: FailedWrite | null;
  readonly firstFailedAt: number | null;
  readonly lastFailedAt: number | null;
  /**
   * Before this a comparison means nothing, because writes may be in flight; 0: nothing is in
   * flight.
   */
  readonly settledAt: number;
  /** After a repair, compare again. */
  readonly verify: boolean;
  /** Asked for without a failed write, by `reconcileNow` or by hand. */
  readonly demanded: boolean;
}
