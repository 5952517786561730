/**
 * The failed write as workflows, intakes and producers know it. Types alone, and of nothing that a
 * producer has not installed.
 */
import type { ScopeHint } from './scope.js';

/** How `key` and `members` are written: as they are, or as base64 of raw bytes. */
export type KeyEncoding = 'utf8' | 'base64';

/** A key as text: lossless because binary keys travel as base64. */
export interface EncodedKey {
  readonly key: string;
  readonly encoding: KeyEncoding;
}

/**
 * A write that the source accepted and that the target refused, or whose outcome there is unknown.
 */
export interface FailedWrite {
  readonly specVersion: 1;
  /**
   * Unique per failed operation. A redelivered record carries the same id, which is how duplicates
   * are known.
   */
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
  /**
   * Set by the intake, not by producers: sending the command twice does no harm. Absent: unknown,
   * taken as harmful.
   */
  readonly idempotent?: boolean | undefined;
  /**
   * Set by the bridge where the write may still be in flight: when the record was read. `settle`
   * counts from it, for the clock of a producer may be behind. ISO 8601, UTC.
   */
  readonly receivedAt?: string | undefined;
  /**
   * Set beside `receivedAt` by whoever tells a workflow of the write: how long ago that was by the
   * clock of that process, in ms. Temporal's clock may be ahead of it.
   */
  readonly receivedAgoMs?: number | undefined;
  /** Set by the intake: where the record stood, so that a person can find it again. */
  readonly record?: RecordPosition | undefined;
  /**
   * Set by the intake: how often the record was redriven out of the dead letters. It then is new
   * work although its id was seen.
   */
  readonly redrive?: number | undefined;
  /**
   * Set by the bridge, which makes one of all failed writes of a key in a batch: `outcome`,
   * `idempotent` and `receivedAt` are such that what may be in flight of any has landed, `failedAt`
   * is that of the last, `command` and `members` cover all, the rest is of the newest.
   */
  readonly merged?: MergedWrites | undefined;
  /**
   * Its place in a trace, as W3C writes it. Not part of the record, but its header: set by whoever
   * makes a span of it, for those who take it on.
   */
  readonly traceparent?: string | undefined;
}

/** The failed writes that became one. Times are ISO 8601, UTC. */
export interface MergedWrites {
  /** How many, that one included. */
  readonly count: number;
  /** By what they are known should they come again; of many only the last ones, newest last. */
  readonly ids: readonly string[];
  readonly firstFailedAt: string;
  readonly lastFailedAt: string;
  /** What their commands say together, where one command can't. */
  readonly hint?: ScopeHint | undefined;
}

/**
 * Where a record stood: in Kafka, or in an outbox (then `topic` is the key of the stream and
 * `offset` the ID of the entry). Texts, as their clients give them; `timestamp` is decimal, in ms
 * since the epoch.
 */
export interface RecordPosition {
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
  readonly timestamp: string;
}
