/**
 * The contract of the `reconcileKey` workflow: what a client sends, asks and gets.
 * It imports nothing from Node, so workflows, workers, clients and other services share one truth.
 */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';

/** The workflow type, as it stands in the Web UI. */
export const WORKFLOW_TYPE = 'reconcileKey';

/** Search attributes, both of type Keyword. `KeymendState` is written only when a key becomes or leaves `escalated`. */
export const SEARCH_ATTRIBUTES = { link: 'KeymendLink', state: 'KeymendState' } as const;

/** How `key` and `members` are written: as they are, or as base64 of raw bytes. */
export type KeyEncoding = 'utf8' | 'base64';

/** A key as text: lossless because binary keys travel as base64. */
export interface EncodedKey {
  readonly key: string;
  readonly encoding: KeyEncoding;
}

/** A write that the source accepted and that the target refused, or whose outcome there is unknown. */
export interface FailedWrite {
  readonly specVersion: 1;
  /** Unique per failed operation. A redelivered record carries the same id, which is how duplicates are known. */
  readonly id: string;
  readonly link: string;
  readonly key: string;
  readonly encoding?: KeyEncoding | undefined;
  /** Upper case. Absent: nothing is known of the command, so the whole key is reconciled. */
  readonly command?: string | undefined;
  /** Fields or members the command touched, in `encoding`. Never values. */
  readonly members?: readonly string[] | undefined;
  readonly outcome?: 'refused' | 'unknown' | undefined;
  /** ISO 8601, UTC. */
  readonly failedAt: string;
  readonly error?: { readonly code?: string | undefined; readonly message?: string | undefined } | undefined;
  readonly origin?: string | undefined;
  /** Set by the intake, not by producers: sending the command twice does no harm. Absent: unknown, taken as harmful. */
  readonly idempotent?: boolean | undefined;
  /** Set by the intake: where the record stood, so that a person can find it again. */
  readonly record?: RecordPosition | undefined;
}

/**
 * Where a record stood: in Kafka, or in an outbox (then `topic` is the key of the stream and `offset` the ID of the entry). Texts,
 * as their clients give them; `timestamp` is decimal, in ms since the epoch.
 */
export interface RecordPosition {
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
  readonly timestamp: string;
}

/** What a link asks of its workflows. Taken from `keymend.yaml` by whoever starts the workflow. All times in ms. */
export interface LinkPolicy {
  readonly settleMs: number;
  readonly verify: 'auto' | 'always' | 'never';
  readonly retry: {
    readonly maximumAttempts: number;
    readonly initialIntervalMs: number;
    readonly backoffCoefficient: number;
    readonly maximumIntervalMs: number;
  };
  readonly escalation: { readonly retryEveryMs: number };
}

/** What a link asks when its configuration says nothing, and for a workflow that was started by hand. */
export const DEFAULT_POLICY: LinkPolicy = {
  settleMs: 1_000,
  verify: 'auto',
  retry: { maximumAttempts: 8, initialIntervalMs: 500, backoffCoefficient: 2, maximumIntervalMs: 30_000 },
  escalation: { retryEveryMs: 15 * 60_000 },
};

export type State = 'settling' | 'reconciling' | 'verifying' | 'done' | 'retrying' | 'escalated';
export type Outcome = 'equal' | 'repaired' | 'skipped';
/** The part of the way at which something failed; the same words as in `dlq.stage`. */
export type Stage = 'decode' | 'signal' | 'read' | 'compare' | 'write' | 'verify';

/** Why an attempt failed. The names are activity error types, so they are what the Web UI shows. */
export type ErrorType =
  | 'TargetUnavailable'
  | 'TargetReadOnly'
  | 'TargetOutOfMemory'
  | 'TargetLoading'
  | 'SourceUnavailable'
  | 'SourceSuspicious'
  | 'NoPermission'
  | 'Contended'
  | 'Unsupported';

/**
 * What the commands of the pending writes say about the part of the key to look at. `whole` overrides the rest.
 * Whether a command is about members or only about expiry is the engine's knowledge, so both lists travel to it.
 */
export interface ScopeHint {
  readonly whole: boolean;
  /** Commands whose record named members; all the members are in `members`. */
  readonly memberCommands: readonly string[];
  /** Commands whose record named none. */
  readonly otherCommands: readonly string[];
  readonly members: Readonly<Record<KeyEncoding, readonly string[]>>;
}

/** The input of `reconcileKey`. */
export interface ReconcileKeyInput extends EncodedKey {
  readonly link: string;
  /** Absent (for example when started by hand): the defaults of a link. */
  readonly policy?: LinkPolicy | undefined;
  /** Continue as new once the history has this many events (default 4,000), so that it never nears the server's limits. */
  readonly historyEventsPerRun?: number | undefined;
  /** Only set by continue-as-new. */
  readonly carried?: CarriedState | undefined;
}

/** The answer to `reconcileNow`, and the result of the workflow. */
export interface ReconcileKeyResult {
  readonly outcome: Outcome;
  /** Attempts made since the key became pending. */
  readonly attempts: number;
  /** Why it was skipped; only with the outcome `skipped`. */
  readonly skipReason?: string | undefined;
}

/** What went wrong last, without any user value. */
export interface LastError {
  readonly type: string;
  readonly message: string;
  readonly stage: Stage | null;
}

/** The answer to the query `status`. Times are ISO 8601, UTC. */
export interface KeyStatus extends EncodedKey {
  readonly link: string;
  readonly state: State;
  /** Attempts that have ended since the key became pending, as far as the workflow knows; those of a durable activity count when it ends. */
  readonly attempts: number;
  /** Failed writes that no reconcile has covered yet. */
  readonly pending: number;
  readonly firstFailedAt: string | null;
  readonly lastFailedAt: string | null;
  readonly lastOutcome: Outcome | null;
  readonly lastError: LastError | null;
  /** When the workflow tries again by itself; null where nothing is planned or the server owns the schedule. */
  readonly nextRetry: string | null;
  readonly skipReason: string | null;
}

/** `retry` and `reconcileNow`: what a person vouches for. */
export interface RetryRequest {
  /** The key may be deleted on the target although the source looks suspicious. Holds until the key is equal. */
  readonly allowDelete?: boolean | undefined;
  /**
   * ISO 8601. `allowDelete` counts only if the workflow gets the request before then: Temporal keeps it until a worker runs, and who
   * vouched for the source hours ago did not mean the one of now.
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

/** What one attempt is asked to do. */
export interface ReconcileRequest extends EncodedKey {
  readonly link: string;
  readonly hint: ScopeHint;
  readonly allowDelete: boolean;
}

/** What one attempt found or did. Failures are activity errors whose type is an `ErrorType`. */
export type ReconcileReply = ReconciledReply | DeferredReply | LargeReply;

export interface ReconciledReply {
  readonly outcome: 'equal' | 'repaired';
  /** What was done, for a person: for example `restored hash, 120 bytes`. Never a value. */
  readonly summary: string;
  /** Which attempt of this activity answered, from 1. */
  readonly attempt: number;
}

/** The budget of the link is spoken for: the attempt has given its slot back, and is to be made again. Not a failure. */
export interface DeferredReply {
  readonly outcome: 'deferred';
  readonly retryAfterMs: number;
  /** It wrote before the key changed once more. */
  readonly wrote: boolean;
  /** As in `ReconciledReply`. */
  readonly attempt: number;
}

/**
 * The value is too large for one call, and nothing was done yet. Only a local attempt says so; a durable one goes through the value
 * in chunks.
 */
export interface LargeReply {
  readonly outcome: 'large';
}

/** The one detail that an activity error carries. */
export interface AttemptErrorDetail {
  readonly stage: Stage;
  readonly attempt: number;
  /** The target was written before the attempt failed, whatever the stage at which it did. Absent: go by the stage. */
  readonly wrote?: boolean | undefined;
}

/** Everything a dead-letter record says about a key that was given up on for now. */
export interface EscalateRequest {
  /** The newest failed write, its scope widened to all that is pending. */
  readonly event: FailedWrite;
  readonly error: LastError;
  readonly attempts: number;
  readonly firstFailedAt: string;
  readonly lastFailedAt: string;
}

/** The activities that the workflow calls. */
export interface Activities {
  reconcile(request: ReconcileRequest): Promise<ReconcileReply>;
  escalate(request: EscalateRequest): Promise<void>;
}

/** What a run hands to the next one at continue-as-new. Plain data. */
export interface CarriedState {
  readonly pending: Pending;
  /** `published`: its dead-letter record is acknowledged. */
  readonly escalation: 'none' | 'unpublished' | 'published';
  readonly attempts: number;
  readonly lastOutcome: Outcome | null;
  readonly allowDelete: boolean;
  /** When the attempts of the round under way began, in ms since the epoch; null: none was made. */
  readonly triesBegunAt: number | null;
  /** Since when the target may have been written without having been compared again, in ms since the epoch. */
  readonly unverifiedSince: number | null;
  /** A round of this key repaired it. */
  readonly repaired: boolean;
  readonly lastError: LastError | null;
}

/** What is still to reconcile; a plain value, changed only by the functions of `pending.ts`. Times in ms since the epoch. */
export interface Pending {
  /** Ids of the last failed writes, oldest first, bounded: a redelivered record is known by its id. */
  readonly seen: readonly string[];
  /** Failed writes that no reconcile has covered. */
  readonly count: number;
  readonly hint: ScopeHint;
  readonly newest: FailedWrite | null;
  readonly firstFailedAt: number | null;
  readonly lastFailedAt: number | null;
  /** Before this a comparison means nothing, because writes may be in flight; 0: nothing is in flight. */
  readonly settledAt: number;
  /** After a repair, compare again. */
  readonly verify: boolean;
  /** Asked for without a failed write, by `reconcileNow` or by hand. */
  readonly demanded: boolean;
}
