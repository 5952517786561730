/**
 * The contract of the `reconcileBatch` workflow: failed writes of up to a thousand keys of one
 * link, reconciled, verified and waited for together. Keys that do not heal go on as workflows of
 * their own.
 */

import type { Earlier } from './activities.js';
import { defineQuery, defineSignal } from './definitions.js';
import type { EncodedKey, FailedWrite, RecordPosition } from './failed-write.js';
import type { LastError, ShardOutage, State } from './messages.js';
import type { LinkPolicy } from './policy.js';

/** The workflow type, as it stands in the Web UI. */
export const BATCH_TYPE = 'reconcileBatch';

/** Keys of a batch, at most. */
export const BATCH_KEYS = 1_000;
/** What its failed writes have together, about: half of what Temporal takes as one payload. */
export const BATCH_BYTES = 1024 * 1024;

/** A part of a log: the records of one link between two positions, both included. */
interface BatchPart {
  /** As in `RecordPosition`. */
  readonly topic: string;
  readonly partition: number;
  readonly first: string;
  readonly last: string;
  /**
   * `id` of the first failed write. A log that was made anew has the same positions, but not the
   * same failed writes.
   */
  readonly firstId: string;
  /** As that of a failed write, for all of them: when the last of them had been read. */
  readonly receivedAt?: string | undefined;
  /** As that of a failed write, for all of them: the batch is one step of its trace. */
  readonly traceparent?: string | undefined;
}

/**
 * All failed writes of one key in the batch, as one (see `MergedWrites`), without what is the same
 * for all keys of the batch. `receivedAt` is there where it is not that of the part.
 */
export interface BatchWrite extends Omit<FailedWrite, 'specVersion' | 'link' | 'record'> {
  readonly record: Pick<RecordPosition, 'offset' | 'timestamp'>;
}

export interface BatchInput {
  readonly link: string;
  readonly policy: LinkPolicy;
  readonly part: BatchPart;
  /** One for each key. */
  readonly writes: readonly BatchWrite[];
  /** Of the run before this one. */
  readonly carried?: CarriedBatch | undefined;
}

interface CarriedBatch extends Pick<BatchStatus, 'keys' | 'equal' | 'repaired' | 'handedOver'> {
  /** Before this a comparison of any key proves nothing, in ms since the epoch. */
  readonly provesAt?: number | undefined;
  /** As of `BatchResult`. Absent: of a worker of an earlier version. */
  readonly wentOn?: readonly EncodedKey[] | undefined;
}

/** The answer to the query `status`. */
export interface BatchStatus {
  readonly link: string;
  readonly part: BatchPart;
  readonly state: State;
  readonly keys: number;
  /** Healed: found equal, or repaired and, where that is asked for, found equal afterwards. */
  readonly equal: number;
  readonly repaired: number;
  /** Keys that went on as workflows of their own. */
  readonly handedOver: number;
  /** The server that keys of the batch wait for. */
  readonly outage: ShardOutage | null;
  readonly lastError: LastError | null;
  /** ISO 8601, UTC. */
  readonly nextTry: string | null;
}

/** The result of the workflow. */
export interface BatchResult extends BatchStatus {
  /** Which keys went on as workflows of their own: the first of them, in 64 KiB. */
  readonly wentOn: readonly EncodedKey[];
}

/** Kept beside a batch, so that whoever meets its ID knows what it holds. */
export interface BatchMemo extends Pick<BatchPart, 'last' | 'firstId'> {
  readonly link: string;
  /** Of the positions and ids of all its failed writes. */
  readonly digest: string;
}

/** Ends a wait: try again now. */
export const retry = defineSignal<[]>('retry');
export const status = defineQuery<BatchStatus>('status');
/** What a batch does with one key. null: nothing (any more). */
export const keyStatus = defineQuery<KeyInBatch | null, [EncodedKey]>('key');

export interface KeyInBatch {
  /** Attempts that have failed. */
  readonly attempts: number;
  /** Failed writes of the key. */
  readonly pending: number;
  /** ISO 8601, UTC. */
  readonly firstFailedAt: string;
  readonly lastFailedAt: string;
  /** null: it is being tried, or goes on by itself now. */
  readonly nextRetry: string | null;
}

/** What is asked of one attempt at keys of a batch. */
export interface BatchRequest extends Pick<BatchInput, 'link' | 'policy' | 'part' | 'writes'> {
  /**
   * What was in flight when the run began has landed, by Temporal's clock. Else the worker counts
   * by its own, and one that is behind the bridge's would find that at each attempt anew.
   */
  readonly isSettled?: boolean | undefined;
  /** Which of the run's writes these are: first and last index of each range. To be told back. */
  readonly asked?: readonly number[] | undefined;
}

export interface HandOverRequest extends BatchRequest {
  /**
   * So much later: until then a given-up attempt may write one of them, and a workflow of the key's
   * own would wait for no longer than `settle`.
   */
  readonly afterMs?: number | undefined;
}

/** How an attempt ended, by the indices of the writes; those that are in no list are equal. */
export interface BatchReply {
  readonly repaired: readonly number[];
  /** Repaired too, and to be compared again after `settle`. */
  readonly lookAgain: readonly number[];
  /** Not now. */
  readonly deferred: readonly Deferral[];
  /** Not within one call: for a workflow of the key's own. */
  readonly large: readonly number[];
  readonly failed: readonly BatchFailure[];
  /**
   * As in the request, which is not in the history: in a replay other keys may seem to be due (the
   * end of an attempt has an earlier time there, if a query was answered in its task). Absent: of a
   * worker of an earlier version.
   */
  readonly asked?: readonly number[] | undefined;
}

export const ALL_EQUAL: BatchReply = { repaired: [], lookAgain: [], deferred: [], large: [], failed: [] };

export interface Deferral {
  readonly indices: readonly number[];
  readonly retryAfterMs: number;
  readonly outage?: ShardOutage | undefined;
}

/** Keys that failed in the same way. */
export interface BatchFailure {
  readonly indices: readonly number[];
  readonly error: LastError;
  /** Trying again changes nothing. */
  readonly permanent: boolean;
  /** What it has done to the target. */
  readonly effect: Earlier;
}

/** What the workflow asks of its activities. */
export interface BatchActivities {
  reconcileBatch(request: BatchRequest): Promise<BatchReply>;
  /** Resolves when each key is taken by a workflow of its own, or is a dead letter. */
  handOver(request: HandOverRequest): Promise<void>;
}

/** The failed write of a key as its own workflow takes it. */
export function unpacked({ link, part }: Pick<BatchInput, 'link' | 'part'>, write: BatchWrite): FailedWrite {
  const { topic, partition, traceparent } = part;
  const record = { topic, partition, ...write.record };
  const receivedAt = write.receivedAt ?? part.receivedAt;
  return { specVersion: 1, link, ...write, receivedAt, record, ...(traceparent && { traceparent }) };
}

/** The other way round. */
export function packed(write: FailedWrite): BatchWrite {
  const { specVersion: _specVersion, link: _link, receivedAt: _receivedAt, record, ...rest } = write;
  return { ...rest, record: { offset: record?.offset ?? '', timestamp: record?.timestamp ?? '' } };
}
