/**
 * What lies between the bridge and a log of failed writes. Kafka is one intake; whatever can hand
 * out records can be another: `src/bridge/intakes.ts` chooses by the configuration.
 */
import type { RecordPosition } from '../../workflows/failed-write.js';

/** A record as an intake read it, with nothing decoded. */
export interface IntakeRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** A header can occur more than once, and its value can be absent. */
  readonly headers: Readonly<Record<string, HeaderValue | readonly HeaderValue[]>>;
  readonly position: RecordPosition;
  /**
   * The log has bytes here that are no records: from `position` up to this offset, both included.
   * Then nothing else of the record is known.
   */
  readonly unreadable?: { readonly lastOffset: string; readonly reason: string };
}

export type HeaderValue = Buffer | string | null | undefined;

/** What waits in the part of a log that a batch is of. */
export interface Backlog {
  /** About how many records, those of the batch included. */
  readonly records: number;
  /** Of the oldest, in ms. */
  readonly ageMs: number;
}

/** Records in the order of their log. */
export interface IntakeBatch {
  readonly records: readonly IntakeRecord[];
  readonly backlog: Backlog;
  /**
   * Whether every record of the log between two of the batch is in it, too. Where readers share a
   * log, others have some of them.
   */
  readonly isContiguous: boolean;
  /**
   * Aborted when the intake wants the batch back (stop, rebalance), never before the batch is
   * handed out: what is not accepted soon after comes again, to someone.
   */
  readonly signal: AbortSignal;
  /**
   * The record is safe: Temporal or the dead-letter topic has it, so the intake may forget it. Once
   * per record, in any order; an intake that can only forget a prefix waits for the gaps.
   */
  accepted(record: IntakeRecord): void;
}

/**
 * Works on a batch and resolves when every record is accepted, or when the batch is no longer
 * wanted.
 * @throws only what is unexpected; the intake then hands out again what was not accepted
 */
export type BatchHandler = (batch: IntakeBatch) => Promise<void>;

/** Whether failed writes can be read. Else nobody knows what waits. */
export interface Reading {
  isReading(): boolean;
}

export interface Intake {
  /**
   * Takes no new batch, waits for the handler, gives up its place. Resolves even if the log can't
   * be reached.
   */
  stop(): Promise<void>;
  /** Resolves after `stop`; rejects when the intake ended by itself and can't go on. */
  readonly finished: Promise<void>;
}
