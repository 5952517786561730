/** The client SDK: writes go to the source, and whatever the target did not get becomes a failed-write record. */
import type { Cluster, Redis } from 'ioredis';
import type { FailedWrite } from '../../workflows/messages.js';
import { isIdempotent } from '../commands/command.js';
import { within } from '../patience/within.js';
import { Backlog } from './backlog.js';
import {
  type CloseReport,
  type DualWriter,
  type DualWriterOptions,
  type DualWriterStats,
  readOptions,
  UnrecordedWriteError,
} from './options.js';
import { Publisher, RecordsLostError } from './records/publisher.js';
import { RecentFailures } from './records/recent-failures.js';
import { toRecords } from './records/to-records.js';
import { isSameEnd } from './same-server.js';
import { Intents } from './source/intents.js';
import { type AcceptedWrite, observeSource } from './source/observe-source.js';
import type { Write } from './source/write.js';
import type { MirroredWrite } from './target/mirror-answers.js';
import type { MirrorFailure } from './target/mirror-failure.js';
import { planMirror } from './target/mirror-plan.js';

export type { CloseReport, DualWriter, DualWriterOptions, DualWriterStats } from './options.js';
export type { BreakerChange } from './target/shard.js';

/**
 * Wraps the source client: replies and errors are those of the source alone, as soon as it gives them. Then the write is
 * sent to the target, in the order of the source's replies, and its failure or timeout becomes one record per key.
 *
 * Commands that reach keys they do not name (FLUSHALL, SELECT, scripts without keys, …) are rejected with one line saying why.
 *
 * @example
 * const redis = createDualWriter({
 *   link: 'east-to-west',
 *   source: new Redis('redis://east'),
 *   target: new Redis('redis://west', mirrorOptions(500)),
 *   records: createKafkaRecordSink({ kafka: { brokers: ['127.0.0.1:9092'] }, topic: 'keymend.failed-writes' }),
 *   origin: 'orders-api',
 *   onError: (error) => log.error({ lost: error.records }, error.message),
 * });
 * await redis.hset('user:42', { name: 'Ada' });
 *
 * @throws Error when the target client has options that could make a late or double write, or the source can't be written
 */
export function createDualWriter<Source extends Redis | Cluster>(
  options: DualWriterOptions<Source>,
): DualWriter<Source> {
  const read = readOptions(options);
  const { link, origin, sinks, bounds, breaker, onUnrecorded, failoverAfterMs, intents: mode } = read;
  const source: Redis | Cluster = options.source;
  const target = read.target.createTarget({
    bounds,
    breaker,
    // Not in the middle of what runs here: a listener that throws must end in the open, not stop the writes behind.
    onBreaker: (change) => queueMicrotask(() => source.emit('breaker', change)),
    isSource: (client) => isSameEnd(read.source, client),
  });
  const publisher = new Publisher({
    sinks,
    failoverAfterMs,
    maxPending: bounds.records,
    onError: options.onError,
    outboxKnows: mode !== undefined,
  });
  const intents =
    mode &&
    new Intents({
      ...mode,
      context: { link, origin },
      onState: (state) => queueMicrotask(() => source.emit('transactional', state)),
    });
  const recentFailures = new RecentFailures();
  /** What the source did, in the order of its replies, and nobody followed yet. */
  const backlog = new Backlog<Replied>((replied) => follow(replied));
  /** Units that the source has carried out, or of which that will never be known. */
  let replies = 0;
  /** Parts of units that the target has not answered yet. */
  let inFlight = 0;
  const whenAnswered: (() => void)[] = [];
  let mirrored = 0;

  /** @param number of the unit that the writes are part of */
  function recordsOf(writes: readonly Write[], failure: MirrorFailure, number: number): FailedWrite[] {
    for (const { keys } of writes) recentFailures.add(keys, number);
    return toRecords(writes, failure, { link, origin });
  }

  /**
   * Hands over a record for each key of failed writes.
   * @returns as `handOver`
   */
  function record(writes: readonly Write[], failure: MirrorFailure, number: number): Promise<void> | undefined {
    return handOver(recordsOf(writes, failure, number), writes);
  }

  /**
   * Gives the records to the sinks. Once they are safe, nobody needs the intents of `writes`.
   * @returns with `onUnrecorded: 'reject'` what the application's call waits for: that the records are safe. It rejects with what
   * the call shall reject with. Otherwise undefined: no call waits, and `onError` alone hears of records that are lost
   */
  function handOver(records: readonly FailedWrite[], writes: readonly Write[]): Promise<void> | undefined {
    if (onUnrecorded === 'report' && !intents) {
      publisher.add(records);
      return undefined;
    }
    const safe = publisher.addAndWait(records).then(() => intents?.conclude(writes));
    if (onUnrecorded === 'reject') return safe.catch(rejectUnrecorded);
    // Records that are lost were told to `onError`; their intents stay in the outbox.
    safe.catch(() => {});
    return undefined;
  }

  /**
   * Mirrors or records what the source did as one unit.
   * @param outcomes is added what rejects when that can't be done
   */
  function follow({ unit, repliedAt, number }: Replied, outcomes?: (Promise<void> | undefined)[]): void {
    const toMirror: MirroredWrite[] = [];
    for (const { write, reply, resent } of unit) {
      const plan = planMirror(write, reply, repliedAt, resent);
      if (plan.kind === 'replay') toMirror.push({ write, reply, replay: plan.replay });
      else if (plan.kind === 'nothing') intents?.conclude([write]);
      else {
        const recorded = record([write], notMirrored(plan.reason), number);
        outcomes?.push(recorded);
      }
    }
    if (toMirror.length === 0) return;
    target.send(toMirror, (part) => {
      inFlight += 1;
      if (!outcomes) return (failure) => void answered(part, failure, number);
      let resolve!: (outcome: Promise<void> | undefined) => void;
      outcomes.push(new Promise((settle) => (resolve = settle)));
      return (failure) => resolve(answered(part, failure, number));
    });
  }

  /** In one stretch from the flight to its records: nobody must see it neither here nor there. */
  function answered(
    part: readonly MirroredWrite[],
    failure: MirrorFailure | undefined,
    number: number,
  ): Promise<void> | undefined {
    inFlight -= 1;
    const outcome = conclude(part, failure, number);
    if (inFlight === 0) for (const resolve of whenAnswered.splice(0)) resolve();
    return outcome;
  }

  function conclude(
    part: readonly MirroredWrite[],
    failure: MirrorFailure | undefined,
    number: number,
  ): Promise<void> | undefined {
    if (failure) return record(writesOf(part), failure, number);
    mirrored += 1;
    if (!intents && !recentFailures.mayConcern(number) && publisher.size === 0) return undefined;
    const writes = writesOf(part);
    // Further writes of a key that misses one are mirrored nevertheless: the repair copies the source's state, whatever
    // landed meanwhile. But what was on its way before the one that failed can land on top of the repair and take it back;
    // and so can, if it is not idempotent, what came behind and the repair brought already. It gets a record of its own, which
    // makes keymend compare again later. Those records are not remembered as failures, or they would have no end.
    const doubtful = writes.filter(
      (write) =>
        recentFailures.hasAnyNewer(write.keys, number) ||
        (!isIdempotent(write.command) &&
          (recentFailures.hasAny(write.keys) || write.keys.some((key) => publisher.awaits(key)))),
    );
    if (doubtful.length > 0) return handOver(toRecords(doubtful, AFTER_FAILURE, { link, origin }), writes);
    intents?.conclude(writes);
    return undefined;
  }

  const observed = observeSource(source, {
    accepted(unit) {
      const replied = { unit, repliedAt: Date.now(), number: ++replies };
      if (onUnrecorded === 'report') {
        backlog.add(replied);
        return undefined;
      }
      // The application waits for it: it follows at once.
      const outcomes: (Promise<void> | undefined)[] = [];
      follow(replied, outcomes);
      return Promise.all(outcomes).then(() => {});
    },
    // The application gets the source's error in any case. The intents stay: the source may carry the writes out even later.
    unknown: (writes) => publisher.add(recordsOf(writes, SOURCE_UNKNOWN, ++replies)),
    refused: (writes) => intents?.conclude(writes),
    ...(intents && { announce: (write: Write) => intents.announce(write) }),
  });

  /** Resolves when nothing waits for the target any more. */
  async function idle(): Promise<void> {
    backlog.drain();
    while (inFlight > 0) await new Promise<void>((resolve) => whenAnswered.push(resolve));
  }

  async function close({ timeoutMs = 10_000 } = {}): Promise<CloseReport> {
    observed.close();
    const deadline = performance.now() + timeoutMs;
    await within(timeoutMs / 2, observed.unanswered.none().then(idle));
    backlog.drain();
    if (inFlight > 0) target.abandon();
    await within(deadline - performance.now(), idle());
    backlog.drain();
    target.close();
    const unanswered = recordsOf(observed.unanswered.list(), CLOSED, ++replies);
    publisher.add(unanswered);
    const notRecorded = await publisher.close(deadline - performance.now());
    await intents?.close(Math.max(100, deadline - performance.now()));
    return { notRecorded, unanswered };
  }

  const overrides: Record<PropertyKey, unknown> = {
    sendCommand: observed.sendCommand,
    // What ioredis does by itself once connected (resend, select, …) must not be observed a second time.
    connect: source.connect.bind(source),
    monitor: read.source.server?.monitor.bind(source),
    duplicate() {
      throw new Error('duplicate() is refused on a DualWriter: the copy would not mirror; duplicate the source client');
    },
    stats(): DualWriterStats {
      const shards = target.stats();
      return {
        mirrored,
        recorded: publisher.published,
        recording: publisher.size,
        lost: publisher.lost,
        inFlight: inFlight + backlog.size,
        uncovered: intents?.uncovered ?? 0,
        shards,
      };
    },
    close,
  };
  return new Proxy(source, {
    get: (client, property) =>
      Object.hasOwn(overrides, property) ? overrides[property] : Reflect.get(client, property),
  }) as unknown as DualWriter<Source>;
}

/** What the source did as one unit. */
interface Replied {
  readonly unit: readonly AcceptedWrite[];
  /** The application's clock, in ms since the epoch. */
  readonly repliedAt: number;
  /** Its place in the order of the source's replies, which is that of the mirror too. */
  readonly number: number;
}

function writesOf(part: readonly MirroredWrite[]): Write[] {
  return part.map(({ write }) => write);
}

function notMirrored(reason: string): MirrorFailure {
  // Earlier writes of the key may still be on their way to the target: hence `unknown`, which is settled and verified.
  return { outcome: 'unknown', error: { code: 'NOT_MIRRORED', message: reason } };
}

const AFTER_FAILURE: MirrorFailure = {
  outcome: 'unknown',
  error: { code: 'AFTER_FAILURE', message: 'the target has it, but lately missed another write of the key' },
};

const SOURCE_UNKNOWN: MirrorFailure = {
  outcome: 'unknown',
  error: { code: 'SOURCE_UNKNOWN', message: 'the connection to the source failed before it answered' },
};

const CLOSED: MirrorFailure = {
  outcome: 'unknown',
  error: { code: 'SOURCE_UNKNOWN', message: 'the application closed before the source answered' },
};

function rejectUnrecorded(error: unknown): never {
  throw error instanceof RecordsLostError ? new UnrecordedWriteError(error) : error;
}
