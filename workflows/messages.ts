/**
 * The contract of the `reconcileKey` workflow: what a client sends, asks and gets.
 * It imports nothing from Node, so workflows, workers, clients and other services share one truth.
 */
import { defineQuery, defineSignal, defineUpdate } from './definitions.js';
import type { EncodedKey, FailedWrite } from './failed-write.js';
import type { LinkPolicy } from './policy.js';

export type { ErrorType } from './error-types.js';
export type { EncodedKey, FailedWrite, KeyEncoding, MergedWrites, RecordPosition } from './failed-write.js';
export { DEFAULT_POLICY, type LinkPolicy } from './policy.js';

/** The workflow type, as it stands in the Web UI. */
export const WORKFLOW_TYPE = 'reconcileKey';

/**
 * Search attributes, all of type Keyword. `KeymendState` is written only when a key becomes or
 * leaves `escalated`, and with it `KeymendError`, the type of its error. None is written where
 * Temporal would not take it.
 */
export const SEARCH_ATTRIBUTES = { link: 'KeymendLink', state: 'KeymendState', error: 'KeymendError' } as const;

export type State =
  | 'settling'
  | 'reconciling'
  | 'verifying'
  | 'done'
  | 'retrying'
  /** For room in the budget, or for a server that does not answer: no attempt is used up. */
  | 'waiting'
  | 'escalated'
  | 'cancelled';
export type Outcome = 'equal' | 'repaired' | 'skipped';
/** The part of the way at which something failed; the same words as in `dlq.stage`. */
export type Stage = 'decode' | 'signal' | 'read' | 'compare' | 'write' | 'verify';

/** The input of `reconcileKey`. */
export interface ReconcileKeyInput extends EncodedKey {
  readonly link: string;
  /** Absent (for example when started by hand): the defaults of a link. */
  readonly policy?: LinkPolicy | undefined;
  /**
   * Continue as new once the history has this many events (default 4,000), so that it never nears
   * the server's limits.
   */
  readonly historyEventsPerRun?: number | undefined;
  /**
   * Which behaviour the run follows; 3 today. Absent: of versions that did not say it, if there is
   * a policy.
   */
  readonly version?: 2 | 3 | undefined;
}

/** The answer to `reconcileNow`, and the result of the workflow. */
export interface ReconcileKeyResult {
  readonly outcome: Outcome;
  /** Attempts made since the key became pending. */
  readonly attempts: number;
  /** Why it was skipped; only with the outcome `skipped`. */
  readonly skipReason?: string | undefined;
}

/** A server that does not answer. */
export interface ShardOutage {
  /** Its name and address. */
  readonly shard: string;
  /** ISO 8601, UTC. */
  readonly since: string;
}

/** What went wrong last, without any user value. */
export interface LastError {
  readonly type: string;
  readonly message: string;
  readonly stage: Stage | null;
}

/** What one side has under the key; never a value. */
export interface SideSeen {
  /** As TYPE says it; `none`: nothing. */
  readonly type: string;
  /** Elements, of a string bytes; null: too many to be counted at once. */
  readonly size: number | null;
  /** When it expires, ISO 8601, UTC; null: never. */
  readonly expiresAt: string | null;
}

/** Both sides at one moment, about; null: that side did not say. */
export interface SidesSeen {
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly source: SideSeen | null;
  readonly target: SideSeen | null;
}

/** Attempts that failed in the same way. Times are ISO 8601, UTC. */
export interface Tried {
  /** The type of the error. */
  readonly type: string;
  readonly attempts: number;
  /** When the first of them began… */
  readonly from: string;
  /** …and the last one ended. */
  readonly to: string;
}

/** The answer to the query `status`. Times are ISO 8601, UTC. */
export interface KeyStatus extends EncodedKey {
  readonly link: string;
  readonly state: State;
  /**
   * Attempts that have ended since the key became pending, as far as the workflow knows; those of a
   * durable activity count when it ends.
   */
  readonly attempts: number;
  /** Failed writes that no reconcile has covered yet. */
  readonly pending: number;
  readonly firstFailedAt: string | null;
  readonly lastFailedAt: string | null;
  readonly lastOutcome: Outcome | null;
  readonly lastError: LastError | null;
  /**
   * When the workflow tries again by itself; null where nothing is planned or the server owns the
   * schedule.
   */
  readonly nextRetry: string | null;
  /** The server of the target that the key waits for; null: it waits for none. */
  readonly outage: ShardOutage | null;
  readonly skipReason: string | null;
  /**
   * Attempts that failed since the key became pending, by error, the latest last. Absent: a worker
   * of an earlier version answers.
   */
  readonly tried?: readonly Tried[] | undefined;
  /** What both sides had when the key was escalated; null: not escalated, or not known. */
  readonly sides?: SidesSeen | null | undefined;
}

/** `retry` and `reconcileNow`: what a person vouches for. */
export interface RetryRequest {
  /**
   * The key may be deleted on the target although the source looks suspicious. Holds until the key
   * is equal.
   */
  readonly allowDelete?: boolean | undefined;
  /**
   * ISO 8601. `allowDelete` counts only if the workflow gets the request before then: Temporal
   * keeps it until a worker runs, and who vouched for the source hours ago did not mean the one of
   * now.
   */
  readonly before?: string | undefined;
}

/** `skip`: why a person or a program gives up on what is pending. */
export interface SkipRequest {
  readonly reason: string;
}

export const failedWrites = defineSignal<[FailedWrite[]]>('failedWrites');
export const retry = defineSignal<[RetryRequest?]>('retry');
export const skip = defineSignal<[SkipRequest]>('skip');
export const reconcileNow = defineUpdate<ReconcileKeyResult, [RetryRequest]>('reconcileNow');
export const status = defineQuery<KeyStatus>('status');
