/** What an application gives to and gets from a DualWriter. */
import type { Cluster, Redis } from 'ioredis';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { MAX_LINK_LENGTH, OUTBOX_KEY } from '../defaults.js';
import type { RecordSink } from '../events/record-sink.js';
import { assertIoredis } from './ioredis-version.js';
import type { RecordsLostError } from './records/publisher.js';
import type { WriteTracing } from './records/to-records.js';
import { isSameServer } from './same-server.js';
import type { IntentState } from './source/intents.js';
import type { BreakerOptions } from './target/breaker.js';
import type { MarksChange } from './target/marks.js';
import { assertMirrorOptions, DAY_MS } from './target/mirror-options.js';
import { type BreakerChange, DEFAULT_BOUNDS, type ShardBounds, type ShardStats } from './target/shard.js';
import { type Topology, topologyOf } from './topology.js';

/** How much may wait. Beyond a shard's bounds, writes become failed-write records at once. */
export interface Bounds extends ShardBounds {
  /**
   * Keys of which a record waits for a sink; beyond it failed writes of further keys are lost.
   * Default 100,000.
   */
  readonly records: number;
}

/** See docs/dual-writer.md for what it promises and costs. */
export interface TransactionalOptions {
  /** The key of the outbox, as `stream.key` of keymend.yaml. Default `keymend:outbox`. */
  readonly outbox?: string;
  /**
   * How long, in ms, a write may be under way before keymend takes it for abandoned and compares
   * its keys. More than the target's `commandTimeout`. Too short costs comparisons, too long delays
   * the repair after a crash. Default 10,000.
   */
  readonly graceMs?: number;
  /**
   * With so many entries, about, the outbox is full: writes go without an entry, and a
   * `transactional` event says so. Default 1,000,000.
   */
  readonly maxEntries?: number;
}

export interface DualWriterOptions<Source extends Redis | Cluster = Redis> {
  /** The name of the link in `keymend.yaml`. */
  readonly link: string;
  /**
   * Where the truth is. May have any options but `readOnly` and `blockingTimeout`, a `keyPrefix`
   * too.
   */
  readonly source: Source;
  /** A client of the writer's own, made with `mirrorOptions` or `mirrorClusterOptions`. */
  readonly target: Redis | Cluster;
  /** Where failed writes are recorded. Several: each takes what those before it did not take. */
  readonly records: RecordSink | readonly RecordSink[];
  /** The name of the application, as it shall stand in the records. */
  readonly origin: string;
  /** Failed writes that could not be recorded: keep `error.records`, or at least tell someone. */
  readonly onError: (error: RecordsLostError) => void;
  /**
   * What becomes of a write that the target did not get and no sink took: `report` (default) tells
   * `onError` alone. With `reject` the write's promise rejects too, with an `UnrecordedWriteError`.
   * For that every write waits until the target has it or its record is safe, so the application
   * feels the target's latency.
   */
  readonly onUnrecorded?: 'report' | 'reject';
  /**
   * How much may wait: see there for the defaults. Of a Cluster, each master has `inFlight`,
   * `queued` and `bytes` of its own.
   */
  readonly bounds?: Partial<Bounds>;
  /**
   * When to stop sending to a target that does not answer, and how often to ask whether it does
   * again.
   */
  readonly breaker?: BreakerOptions;
  /**
   * Transactional mode (`{}` for the defaults): a record of each write is in the outbox on the
   * source before the write is, until the target has the write. So what was under way when the
   * application died is repaired too. Needs a source of one server.
   */
  readonly transactional?: TransactionalOptions;
  /** How long a sink may take before the next one gets the records too, in ms. Default 5,000. */
  readonly failoverAfterMs?: number;
  /** A span for each failed write: `traceFailedWrites` of `@keymend/dual-writer/tracing`. */
  readonly tracing?: WriteTracing;
}

/** `reason`: one line. */
export interface SourceProblem {
  readonly state: 'replica';
  readonly reason: string;
}

/** Counted since the writer was created. */
export interface DualWriterStats {
  /** Writes and transactions that the target has carried out as the source did. */
  readonly mirrored: number;
  /** Records handed over to a sink. One can stand for many failed writes of its key. */
  readonly recorded: number;
  /** Records that wait for a sink. */
  readonly recording: number;
  /** Records that no sink took; `onError` was told of each. */
  readonly lost: number;
  /** Writes and transactions that the target has not answered yet. */
  readonly inFlight: number;
  /**
   * Writes that the source has not answered yet. A record tells of those that it leaves unanswered
   * for 30 s (beyond what a blocking command may wait), and up to half as long again.
   */
  readonly unanswered: number;
  /**
   * Writes that, in spite of transactional mode, went to the source without an entry in the outbox.
   */
  readonly uncovered: number;
  /** Each master of the target. */
  readonly shards: readonly ShardStats[];
}

/** What is left at the end. Nothing was left undone when both are empty. */
export interface CloseReport {
  /** Records that no sink had taken in time. */
  readonly notRecorded: readonly FailedWrite[];
  /**
   * Writes that the source had not answered in time, as records that were handed over; it may still
   * carry them out.
   */
  readonly unanswered: readonly FailedWrite[];
}

/**
 * The source client, but with it every write goes to the target as well. `duplicate()` throws: the
 * copy would not mirror.
 */
export type DualWriter<Source extends Redis | Cluster = Redis> = Source & {
  stats(): DualWriterStats;
  /**
   * Refuses further writes and waits until all that went before is mirrored or recorded,
   * `timeoutMs` at most (default 10,000). For half of that time the target may still answer; then
   * what is in flight is given up and recorded. A sink that does not take the records gets half of
   * the time that is left, then the next one is asked. Closes neither client and no sink.
   */
  close(options?: { timeoutMs?: number }): Promise<CloseReport>;
  /** A shard of the target stopped answering (`open`, with a `reason`), or answers again. */
  on(event: 'breaker', listener: (change: BreakerChange) => void): unknown;
  /**
   * The target takes no marks of this writer (`suspended`, with a `reason`), so that another one's
   * write may overtake without anyone hearing of it; or does again (`active`).
   */
  on(event: 'marks', listener: (change: MarksChange) => void): unknown;
  /**
   * The outbox takes no entries for writes (`suspended`, with a `reason`), or does again
   * (`active`).
   */
  on(event: 'transactional', listener: (change: IntentState) => void): unknown;
  /**
   * The source refuses writes because it is a replica. The application gets the server's own
   * errors; this says what they mean here, once for each connection.
   */
  on(event: 'source', listener: (problem: SourceProblem) => void): unknown;
};

/**
 * The source has carried out the write. The target may lack it, and the failed write could not be
 * recorded, so nothing will repair its keys, unless the receiver does: `records` is the last
 * chance. In transactional mode keymend will, by the entry that the outbox still has of the write,
 * if it has one: the message says which. Writing again is right only for what is idempotent.
 */
export class UnrecordedWriteError extends Error {
  override readonly name = 'UnrecordedWriteError';
  readonly records: readonly FailedWrite[];

  constructor(lost: RecordsLostError) {
    super(`the source has carried out the write, but the target may lack it: ${lost.message}`, { cause: lost });
    this.records = lost.records;
  }
}

/** The options with their defaults. @throws Error in one line for what can't work */
export function readOptions({ transactional, ...options }: DualWriterOptions<Redis | Cluster>) {
  assertIoredis([options.source, options.target]);
  const [source, target] = [topologyOf(options.source), topologyOf(options.target)];
  assertMirrorOptions(target);
  const { link, origin, records, onUnrecorded = 'report', breaker = {}, failoverAfterMs = 5000, tracing } = options;
  mustBeInARecord(link, origin);
  if (isSameServer(source, target)) {
    throw new Error('source and target of the DualWriter are the same Redis: every write would be done twice');
  }
  if (source.server?.options.readOnly) {
    throw new Error('the source client of the DualWriter has readOnly set: give it a client that writes to the master');
  }
  const { blockingTimeout = 0 } = source.connection;
  if (blockingTimeout > 0) {
    throw new Error(
      `the source client of the DualWriter has blockingTimeout (${blockingTimeout}) set: ioredis then says that nothing was ` +
        'there while the source may still answer, so a pop would be lost; set socketTimeout instead',
    );
  }
  // Undefined: an application without types may leave it out.
  const sinks = records && ('publish' in records ? [records] : records);
  if (!sinks?.length) throw new Error('records of the DualWriter is empty: failed writes need at least one sink');
  const bounds: Bounds = { ...DEFAULT_BOUNDS, records: 100_000, ...options.bounds };
  const numbers = { ...bounds, ...breaker, failoverAfterMs };
  if (onUnrecorded !== 'report' && onUnrecorded !== 'reject') {
    throw new Error(`onUnrecorded of the DualWriter is ${String(onUnrecorded)}: it must be 'report' or 'reject'`);
  }
  for (const [name, value] of Object.entries(numbers)) {
    if (!(value >= 1)) throw new Error(`${name} of the DualWriter is ${value}: it must be a number of at least 1`);
    if (name.endsWith('ProbeMs')) mustBeAtMostADay(name, value);
  }
  const intents = transactional && readTransactional(source, target, transactional);
  return { source, target, link, origin, sinks, bounds, breaker, onUnrecorded, failoverAfterMs, intents, tracing };
}

/** Where nobody reads a record that says otherwise, what it tells of would be lost. */
function mustBeInARecord(link: unknown, origin: unknown): void {
  if (typeof link !== 'string' || link.length < 1 || link.length > MAX_LINK_LENGTH) {
    const must = `a text of 1 to ${MAX_LINK_LENGTH} characters`;
    throw new Error(`link of the DualWriter must be the name of the link in keymend.yaml, ${must}`);
  }
  if (origin !== undefined && typeof origin !== 'string') throw new Error('origin of the DualWriter must be a text');
}

/** No timer could wait for Infinity, and no entry of the outbox could say it. */
function mustBeAtMostADay(name: string, value: number): void {
  if (value > DAY_MS) throw new Error(`${name} of the DualWriter is ${value}: it must be at most ${DAY_MS}, a day`);
}

function readTransactional(
  source: Topology,
  target: Topology,
  { outbox: key = OUTBOX_KEY, graceMs = 10_000, maxEntries = 1_000_000 }: TransactionalOptions,
) {
  if (source.server === undefined) {
    throw new Error('transactional of the DualWriter is not supported on a Cluster yet; give a source of one server');
  }
  const { commandTimeout = 0 } = target.connection;
  if (!(graceMs > commandTimeout)) {
    throw new Error(
      `transactional.graceMs of the DualWriter is ${graceMs}: it must be more than the target's commandTimeout (${commandTimeout})`,
    );
  }
  mustBeAtMostADay('transactional.graceMs', graceMs);
  if (!(maxEntries >= 1)) {
    throw new Error(`transactional.maxEntries of the DualWriter is ${maxEntries}: it must be a number of at least 1`);
  }
  return { client: source.server, key, graceMs, maxEntries };
}
