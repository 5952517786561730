/** The client SDK: writes go to the source, and whatever the target did not get becomes a failed-write record. */
import type { Redis } from 'ioredis';
import type { FailedWrite } from '../../workflows/messages.js';
import { type Failure, Mirror } from './mirror.js';
import { planMirror, type Replay } from './mirror-plan.js';
import { Publisher, type RecordSink, type RecordsLostError } from './publisher.js';
import { toRecords } from './records.js';
import { observeSource } from './source.js';
import type { Write } from './write.js';

export interface DualWriterOptions {
  /** The name of the link in `keymend.yaml`. */
  readonly link: string;
  /** Where the truth is. May have any options, a `keyPrefix` too. */
  readonly source: Redis;
  /** A client of the writer's own, made with `mirrorOptions`. */
  readonly target: Redis;
  readonly records: RecordSink;
  /** The name of the application, as it shall stand in the records. */
  readonly origin: string;
  /** Failed writes that could not be recorded: keep `error.records`, or at least tell someone. */
  readonly onError: (error: RecordsLostError) => void;
}

/** Counted since the writer was created. */
export interface DualWriterStats {
  /** Writes and transactions that the target has carried out as the source did. */
  readonly mirrored: number;
  /** Records handed over to the sink. */
  readonly recorded: number;
  /** Records that wait for the sink. */
  readonly recording: number;
  /** Records that the sink failed to take; `onError` was told of each. */
  readonly lost: number;
  /** Writes and transactions that the target has not answered yet. */
  readonly inFlight: number;
}

/** What is left at the end. Nothing was left undone when both are empty. */
export interface CloseReport {
  /** Records that the sink had not taken in time. */
  readonly notRecorded: readonly FailedWrite[];
  /** Writes that the source had not answered in time, as records that were handed over; it may still carry them out. */
  readonly unanswered: readonly FailedWrite[];
}

/** The source client, but with it every write goes to the target as well. `duplicate()` throws: the copy would not mirror. */
export type DualWriter = Redis & {
  stats(): DualWriterStats;
  /**
   * Refuses further writes and waits until all that went before is mirrored or recorded. For half of the time the target may
   * still answer; then what is in flight is given up and recorded. Closes neither client and not the sink.
   */
  close(options?: { timeoutMs?: number }): Promise<CloseReport>;
};

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
 * @throws Error when the target client has options that could make a late or double write
 */
export function createDualWriter(options: DualWriterOptions): DualWriter {
  const { source, link, origin } = options;
  if (source.isCluster) throw new Error('a DualWriter does not support a Cluster as its source yet');
  const mirror = new Mirror(options.target);
  const publisher = new Publisher(options.records, options.onError);
  const inFlight = new Set<Promise<void>>();
  let mirrored = 0;

  function recordFailure(writes: readonly Write[], failure: Failure): FailedWrite[] {
    const records = toRecords(writes, failure, { link, origin });
    publisher.add(records);
    return records;
  }

  async function send(unit: readonly Replay[], writes: readonly Write[]): Promise<void> {
    const failure = await mirror.send(unit);
    if (failure) recordFailure(writes, failure);
    else mirrored += 1;
  }

  const observed = observeSource(source, {
    accepted(unit) {
      const replays: Replay[] = [];
      const writes: Write[] = [];
      for (const accepted of unit) {
        const plan = planMirror(accepted.write, accepted.reply, Date.now(), accepted.resent);
        if (plan.kind === 'record') recordFailure([accepted.write], notMirrored(plan.reason));
        if (plan.kind !== 'replay') continue;
        replays.push(plan.replay);
        writes.push(accepted.write);
      }
      if (replays.length === 0) return;
      const sent = send(replays, writes).finally(() => inFlight.delete(sent));
      inFlight.add(sent);
    },
    unknown: (writes) => recordFailure(writes, SOURCE_UNKNOWN),
  });

  async function close({ timeoutMs = 10_000 } = {}): Promise<CloseReport> {
    observed.close();
    const deadline = Date.now() + timeoutMs;
    const answered = async () => {
      await observed.idle();
      while (inFlight.size > 0) await Promise.all(inFlight);
    };
    await within(timeoutMs / 2, answered());
    if (inFlight.size > 0) mirror.reset();
    await within(deadline - Date.now(), Promise.all(inFlight));
    const unanswered = recordFailure([...observed.unanswered], CLOSED);
    await within(deadline - Date.now(), publisher.idle());
    return { notRecorded: publisher.pending, unanswered };
  }

  const overrides: Record<PropertyKey, unknown> = {
    sendCommand: observed.sendCommand,
    // What ioredis does by itself once connected (resend, select, …) must not be observed a second time.
    connect: source.connect.bind(source),
    monitor: source.monitor.bind(source),
    duplicate() {
      throw new Error('duplicate() is refused on a DualWriter: the copy would not mirror; duplicate the source client');
    },
    stats: (): DualWriterStats => ({
      mirrored,
      recorded: publisher.published,
      recording: publisher.pending.length,
      lost: publisher.lost,
      inFlight: inFlight.size,
    }),
    close,
  };
  return new Proxy(source, {
    get: (target, property) =>
      Object.hasOwn(overrides, property) ? overrides[property] : Reflect.get(target, property),
  }) as unknown as DualWriter;
}

function notMirrored(reason: string): Failure {
  return { outcome: 'refused', error: { code: 'NOT_MIRRORED', message: reason } };
}

const SOURCE_UNKNOWN: Failure = {
  outcome: 'unknown',
  error: { code: 'SOURCE_UNKNOWN', message: 'the connection to the source failed before it answered' },
};

const CLOSED: Failure = {
  outcome: 'unknown',
  error: { code: 'SOURCE_UNKNOWN', message: 'the application closed before the source answered' },
};

/** Waits for `work`, but not longer than `timeoutMs`. */
async function within(timeoutMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, timeoutMs));
  });
  await Promise.race([work, timeout]);
  clearTimeout(timer);
}
