/**
 * The client SDK: writes go to the source, and whatever the target did not get becomes a
 * failed-write record.
 */
import { randomBytes } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import { closeWriter } from './close.js';
import { Mirroring } from './mirroring.js';
import {
  type DualWriter,
  type DualWriterOptions,
  type DualWriterStats,
  readOptions,
  type SourceProblem,
} from './options.js';
import { guardedTracing } from './records/guarded-tracing.js';
import { Publisher } from './records/publisher.js';
import { Recorder } from './records/recorder.js';
import { isSameEnd } from './same-server.js';
import { Intents } from './source/intents.js';
import { observeSource } from './source/observe-source.js';
import type { SourceListener } from './source/source-listener.js';
import type { MirrorFailure } from './target/mirror-failure.js';

export type { CloseReport, DualWriter, DualWriterOptions, DualWriterStats, SourceProblem } from './options.js';
export type { MarksChange } from './target/marks.js';
export type { BreakerChange } from './target/shard.js';

/**
 * Wraps the source client: replies and errors are those of the source alone, as soon as it gives
 * them. Then the write is sent to the target, in the order of the source's replies, and its failure
 * or timeout becomes one record per key.
 *
 * Commands that reach keys they do not name (FLUSHALL, SELECT, scripts without keys, …) are
 * rejected with one line saying why.
 *
 * @example
 * const redis = createDualWriter({
 *   link: 'east-to-west',
 *   source: new Redis('redis://east'),
 *   target: new Redis('redis://west', mirrorOptions(500)),
 *   records: createKafkaRecordSink({ kafka: { brokers: ['kafka:9092'] }, topic: 'failed' }),
 *   origin: 'orders-api',
 *   onError: (error) => log.error({ lost: error.records }, error.message),
 * });
 * await redis.hset('user:42', { name: 'Ada' });
 *
 * @throws Error when the target client has options that could make a late or double write, or the
 *   source can't be written
 */
export function createDualWriter<Source extends Redis | Cluster>(
  options: DualWriterOptions<Source>,
): DualWriter<Source> {
  const { source, target: mirror, link, origin, intents: mode, onUnrecorded, ...rest } = readOptions(options);
  const tracing = rest.tracing && guardedTracing(rest.tracing);
  const context = { link, origin };
  // Not in the middle of what runs here: a listener that throws shall show as an uncaught
  // exception, not stop the writes behind.
  const emit = (event: string) => (change: unknown) => void queueMicrotask(() => source.client.emit(event, change));

  const target = mirror.createTarget({
    bounds: rest.bounds,
    breaker: rest.breaker,
    onBreaker: emit('breaker'),
    writer: randomBytes(9).toString('base64url'),
    onMarks: emit('marks'),
    isSource: (client) => isSameEnd(source, client),
  });
  const intents = mode && new Intents({ ...mode, context, onState: emit('transactional') });
  const publisher = new Publisher({
    sinks: rest.sinks,
    failoverAfterMs: rest.failoverAfterMs,
    maxPending: rest.bounds.records,
    onError: options.onError,
    outboxKnows: mode !== undefined,
    whenSafe: intents && ((ids) => intents.remove(ids)),
  });
  const recorder = new Recorder({ publisher, intents, context: { ...context, tracing }, onUnrecorded });
  const mirroring = new Mirroring({ target, recorder, intents, callsWait: onUnrecorded === 'reject' });
  const listener: SourceListener = {
    accepted: (unit) => mirroring.accepted(unit),
    // The application gets the source's error in any case. The intents stay: the source may carry
    // the writes out even later.
    unknown: (writes) => void mirroring.unknown(writes, SOURCE_UNKNOWN),
    refused: (writes) => intents?.conclude(writes),
    isReplica: onceForEachConnection(source.client, () => emit('source')(SOURCE_REPLICA)),
    ...(intents && { announce: (write) => intents.announce(write) }),
    sent(write, sinceMs) {
      mirroring.sent(sinceMs);
      tracing?.sent(write);
    },
  };
  const resends = source.connection.autoResendUnfulfilledCommands !== false;
  const observed = observeSource(source.client, listener, { resends, database: source.database });

  const stats = (): DualWriterStats => ({
    mirrored: mirroring.mirrored,
    recorded: publisher.published,
    recording: publisher.size,
    lost: publisher.lost,
    inFlight: mirroring.inFlight,
    unanswered: observed.unanswered.size,
    uncovered: intents?.uncovered ?? 0,
    shards: target.stats(),
  });
  return withOverrides(source.client, {
    sendCommand: observed.sendCommand,
    // What ioredis does by itself once connected (resend, select, …) must not be observed a second
    // time.
    connect: source.client.connect.bind(source.client),
    monitor: source.server?.monitor.bind(source.server),
    duplicate() {
      throw new Error('duplicate() is refused on a DualWriter: the copy would not mirror; duplicate the source client');
    },
    stats,
    close: ({ timeoutMs = 10_000 } = {}) => closeWriter({ observed, mirroring, target, publisher, intents }, timeoutMs),
  } satisfies Partial<Record<keyof DualWriter, unknown>>) as DualWriter<Source>;
}

/** The client, but with some members of its own. Those that are undefined it seems not to have. */
function withOverrides(client: Redis | Cluster, overrides: Readonly<Record<PropertyKey, unknown>>): unknown {
  return new Proxy(client, {
    get: (target, property) =>
      Object.hasOwn(overrides, property) ? overrides[property] : Reflect.get(target, property),
  });
}

function onceForEachConnection(client: Redis | Cluster, tell: () => void): () => void {
  let isTold = false;
  client.on('ready', () => {
    isTold = false;
  });
  return () => {
    if (!isTold) tell();
    isTold = true;
  };
}

const SOURCE_REPLICA: SourceProblem = {
  state: 'replica',
  reason: 'the source of the DualWriter answers READONLY: it is a replica; give the DualWriter a client of the master',
};

const SOURCE_UNKNOWN: MirrorFailure = {
  outcome: 'unknown',
  error: { code: 'SOURCE_UNKNOWN', message: 'whether the source carried it out, or how much of it, is not known' },
};
