/** The client SDK: writes go to the source, and whatever the target did not get becomes a failed-write record. */
import type { Cluster, Redis } from 'ioredis';
import type { FailedWrite } from '../../workflows/messages.js';
import { isIdempotent } from '../engine/commands.js';
import { Intents } from './intents.js';
import type { Failure } from './mirror.js';
import type { MirroredWrite } from './mirror-connection.js';
import { planMirror } from './mirror-plan.js';
import {
  type CloseReport,
  type DualWriter,
  type DualWriterOptions,
  type DualWriterStats,
  readOptions,
  UnrecordedWriteError,
} from './options.js';
import { Publisher, RecordsLostError } from './publisher.js';
import { RecentFailures } from './recent-failures.js';
import { toRecords } from './records.js';
import { type AcceptedWrite, observeSource } from './source.js';
import { createTarget, type Delivery } from './target.js';
import type { Write } from './write.js';

export type { CloseReport, DualWriter, DualWriterOptions, DualWriterStats } from './options.js';

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
  const { link, origin, sinks, bounds, breaker, onUnrecorded, failoverAfterMs, intents: mode } = readOptions(options);
  const source: Redis | Cluster = options.source;
  const target = createTarget(options.target, {
    bounds,
    breaker,
    onBreaker: (shard, state) => source.emit('breaker', { shard, state }),
  });
  const publisher = new Publisher({
    sinks,
    failoverAfterMs,
    maxPending: bounds.records,
    onError: options.onError,
  });
  const intents =
    mode &&
    new Intents({
      ...mode,
      context: { link, origin },
      onState: (state) => source.emit('transactional', state),
    });
  const recentFailures = new RecentFailures();
  const inFlight = new Set<Promise<Delivery>>();
  /** What the source did, in the order of its replies, and nobody followed yet. */
  let toFollow: { readonly unit: readonly AcceptedWrite[]; readonly repliedAt: number }[] = [];
  let mirrored = 0;

  function recordsOf(writes: readonly Write[], failure: Failure): FailedWrite[] {
    for (const { keys } of writes) recentFailures.add(keys);
    return toRecords(writes, failure, { link, origin });
  }

  async function record(writes: readonly Write[], failure: Failure): Promise<void> {
    await handOver(recordsOf(writes, failure), writes);
  }

  /** Resolves at once, or if the application chose so when the records are safe. Then nobody needs the intents of `writes`. */
  async function handOver(records: readonly FailedWrite[], writes: readonly Write[]): Promise<void> {
    if (onUnrecorded === 'report' && !intents) return publisher.add(records);
    const safe = publisher.addAndWait(records).then(() => intents?.conclude(writes));
    // Records that are lost were told to `onError`; their intents stay in the outbox.
    if (onUnrecorded === 'report') return void safe.catch(() => {});
    try {
      await safe;
    } catch (error) {
      throw error instanceof RecordsLostError ? new UnrecordedWriteError(error) : error;
    }
  }

  /** Mirrors or records what the source did as one unit. Rejects when it can do neither, if the application chose so. */
  function follow(unit: readonly AcceptedWrite[], repliedAt: number): Promise<void>[] {
    const toMirror: MirroredWrite[] = [];
    const followed: Promise<void>[] = [];
    for (const accepted of unit) {
      const { write, reply, resent } = accepted;
      const plan = planMirror(write, reply, repliedAt, resent);
      if (plan.kind === 'record') followed.push(record([write], notMirrored(plan.reason)));
      if (plan.kind === 'nothing') intents?.conclude([write]);
      if (plan.kind === 'replay') toMirror.push({ write, reply, replay: plan.replay });
    }
    if (toMirror.length === 0) return followed;
    for (const delivery of target.send(toMirror)) {
      inFlight.add(delivery);
      const concluded = delivery.then((delivered) => {
        // In one stretch with the handing over of its records: nobody must see it neither here nor there.
        inFlight.delete(delivery);
        return conclude(delivered);
      });
      followed.push(concluded);
    }
    return followed;
  }

  /** Once the application has its replies and went on: what the target costs must not stand in front of them. */
  function followSoon(unit: readonly AcceptedWrite[]): void {
    if (toFollow.length === 0) setImmediate(followAll);
    toFollow.push({ unit, repliedAt: Date.now() });
  }

  function followAll(): void {
    const units = toFollow;
    toFollow = [];
    for (const { unit, repliedAt } of units) follow(unit, repliedAt);
  }

  async function conclude({ writes, failure }: Delivery): Promise<void> {
    const ofApplication = writes.map(({ write }) => write);
    if (failure) return record(ofApplication, failure);
    mirrored += 1;
    // Further writes of a key that misses one are mirrored nevertheless: the repair copies the source's state, whatever
    // landed meanwhile. Only what is not idempotent could land on top of a repair that brought it already: it gets a record
    // of its own, which makes keymend compare again later. Those records are not remembered as failures, or they would have
    // no end.
    const doubtful = ofApplication.filter(
      ({ command, keys }) =>
        !isIdempotent(command) && (recentFailures.hasAny(keys) || keys.some((key) => publisher.awaits(key))),
    );
    if (doubtful.length === 0) return intents?.conclude(ofApplication);
    await handOver(toRecords(doubtful, AFTER_FAILURE, { link, origin }), ofApplication);
  }

  const observed = observeSource(source, {
    accepted(unit) {
      if (onUnrecorded === 'reject') return Promise.all(follow(unit, Date.now())).then(() => {});
      followSoon(unit);
      return undefined;
    },
    // The application gets the source's error in any case. The intents stay: the source may carry the writes out even later.
    unknown: (writes) => publisher.add(recordsOf(writes, SOURCE_UNKNOWN)),
    refused: (writes) => intents?.conclude(writes),
    ...(intents && { announce: (write: Write) => intents.announce(write) }),
  });

  async function close({ timeoutMs = 10_000 } = {}): Promise<CloseReport> {
    observed.close();
    const deadline = performance.now() + timeoutMs;
    const answered = async () => {
      await observed.idle();
      followAll();
      while (inFlight.size > 0) await Promise.all(inFlight);
    };
    await within(timeoutMs / 2, answered());
    followAll();
    if (inFlight.size > 0) target.abandon();
    await within(deadline - performance.now(), Promise.all(inFlight));
    followAll();
    target.close();
    const unanswered = recordsOf([...observed.unanswered], CLOSED);
    publisher.add(unanswered);
    const notRecorded = await publisher.close(deadline - performance.now());
    await intents?.close(Math.max(100, deadline - performance.now()));
    return { notRecorded, unanswered };
  }

  const overrides: Record<PropertyKey, unknown> = {
    sendCommand: observed.sendCommand,
    // What ioredis does by itself once connected (resend, select, …) must not be observed a second time.
    connect: source.connect.bind(source),
    monitor: 'monitor' in source ? source.monitor.bind(source) : undefined,
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
        inFlight: inFlight.size + toFollow.length,
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

function notMirrored(reason: string): Failure {
  // Earlier writes of the key may still be on their way to the target: hence `unknown`, which is settled and verified.
  return { outcome: 'unknown', error: { code: 'NOT_MIRRORED', message: reason } };
}

const AFTER_FAILURE: Failure = {
  outcome: 'unknown',
  error: { code: 'AFTER_FAILURE', message: 'the target has it, but lately missed another write of the key' },
};

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
