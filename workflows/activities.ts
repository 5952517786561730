/**
 * What the workflow asks of its activities, and what they answer. Plain data: all of it is in the
 * history.
 */
import type { EncodedKey, FailedWrite, LastError, ShardOutage, SidesSeen, Stage } from './messages.js';
import type { ScopeHint } from './scope.js';

/** What one attempt is asked to do. */
export interface ReconcileRequest extends EncodedKey {
  readonly link: string;
  readonly hint: ScopeHint;
  /** A person vouches for a delete, in the first attempt of this activity alone… */
  readonly allowDelete: boolean;
  /** …and before this, in ms since the epoch. */
  readonly allowDeleteUntil?: number | undefined;
  /** What a local attempt has written it is to compare again itself. */
  readonly verify?: VerifyRequest | undefined;
  /** When the first of the failed writes failed, in ms since the epoch; to be measured. */
  readonly failedAt?: number | undefined;
  /** Of the newest failed write, for the log: its `id`… */
  readonly eventId?: string | undefined;
  /** …and for traces, as there. */
  readonly traceparent?: string | undefined;
}

/** When what was written is compared again, off the history. */
export interface VerifyRequest {
  /** In ms behind the write, or the look. */
  readonly afterMs: number;
  /** Whatever was written; otherwise only where `lookAgain` would ask for it. */
  readonly always: boolean;
  /** Also where nothing had to be written. */
  readonly alsoEqual?: boolean | undefined;
}

/**
 * What earlier attempts of the same activity have done to the target. `unknown`: one of them has
 * not told its end, and may be at work still.
 */
export type Earlier = 'nothing' | 'wrote' | 'unknown';

/** What one attempt found or did. Failures are activity errors whose type is an `ErrorType`. */
export type ReconcileReply = ReconciledReply | DeferredReply | LargeReply;

export interface ReconciledReply {
  readonly outcome: 'equal' | 'repaired';
  /** What was done, for a person: for example `restored hash, 120 bytes`. Never a value. */
  readonly summary: string;
  /** Which attempt of this activity answered, from 1. */
  readonly attempt: number;
  /** What was written was found equal so long behind it as was asked for: nothing is left to do. */
  readonly verified?: boolean | undefined;
  /** What was written is to be compared again after `settle`, whatever the failed writes were. */
  readonly lookAgain?: boolean | undefined;
  /** Absent: `nothing`, or not known to a worker of an earlier version. */
  readonly earlier?: Earlier | undefined;
}

/**
 * The budget of the link is spoken for, or the target's server does not answer: the attempt has
 * given its slot back, and is to be made again. Not a failure.
 */
export interface DeferredReply {
  readonly outcome: 'deferred';
  readonly retryAfterMs: number;
  /** The server that does not answer. */
  readonly outage?: ShardOutage | undefined;
  /** It wrote before the key changed once more. */
  readonly wrote: boolean;
  /** As in `ReconciledReply`. */
  readonly attempt: number;
  readonly lookAgain?: boolean | undefined;
  readonly earlier?: Earlier | undefined;
}

/**
 * The value is too large for one call. Only a local attempt says so; a durable one goes through the
 * value in chunks.
 */
export interface LargeReply {
  readonly outcome: 'large';
  /** The target was written before the value became large. */
  readonly wrote?: boolean | undefined;
  /** As in `ReconciledReply`. */
  readonly lookAgain?: boolean | undefined;
}

/** The one detail that an activity error carries. */
export interface AttemptErrorDetail {
  readonly stage: Stage;
  readonly attempt: number;
  /**
   * The target was written before the attempt failed, whatever the stage at which it did. Absent:
   * go by the stage.
   */
  readonly wrote?: boolean | undefined;
  /** As in `ReconciledReply`. */
  readonly earlier?: Earlier | undefined;
}

/** Everything a dead-letter record says about a key that was given up on for now. */
export interface EscalateRequest {
  /** The newest failed write, its scope widened to all that is pending. */
  readonly event: FailedWrite;
  readonly error: LastError;
  readonly attempts: number;
  readonly firstFailedAt: string;
  readonly lastFailedAt: string;
  /** Absent: of a workflow of an earlier version. */
  readonly letter?: Letter | undefined;
}

/** A dead letter that shall be there once, however often it is published. */
export interface Letter {
  /** No other letter has it. */
  readonly id: string;
  /** Where the dead letters ended before it was published first; absent: that is not known. */
  readonly behind?: readonly string[] | undefined;
  /** An earlier run may have published it. */
  readonly mayBeThere?: boolean | undefined;
}

/** What is to be found out when a key is escalated. */
export interface EscalationLook extends EncodedKey {
  readonly link: string;
}

/** What could be found out within 2 s; what could not is absent. */
export interface EscalationSight {
  /** The names of the search attributes that can be written now. */
  readonly usable: readonly string[];
  readonly sides?: SidesSeen | undefined;
  /** Where the dead letters end. */
  readonly lettersEnd?: readonly string[] | undefined;
}

/** The activities that the workflow calls. */
export interface Activities {
  reconcile(request: ReconcileRequest): Promise<ReconcileReply>;
  escalate(request: EscalateRequest): Promise<void>;
  /**
   * The names of the search attributes that can be written now, and what else an escalation wants
   * to know: in one activity, for each is an event.
   */
  usableAttributes(look?: EscalationLook): Promise<readonly string[] | EscalationSight>;
}
