/**
 * Failed-write records to the outbox on the source: where they wait while Kafka is away, or where
 * the bridge reads them.
 */
import type { Cluster, Redis } from 'ioredis';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { OUTBOX_KEY } from '../defaults.js';
import { keyBytes } from '../events/failed-write-codec.js';
import { inParts, type PartLimits } from '../events/parts.js';
import type { RecordSink } from '../events/record-sink.js';
import { untilDeadline } from '../patience/until-deadline.js';
import { counted } from '../plural.js';
import { explain, RedisFailure, slotOf } from '../redis/index.js';
import { APPEND, appendArguments, appended, describeSetAside } from './append.js';
import { createOutboxClient } from './client.js';
import { clusterStreamIndex } from './cluster-streams.js';
import { type EntryFields, outboxFields } from './entry.js';

export interface OutboxOptions {
  /**
   * A client of the source. Only its options are used: the outbox has a connection of its own,
   * without `keyPrefix`.
   */
  readonly client: Redis | Cluster;
  /**
   * As `stream.key` of keymend.yaml. Default `keymend:outbox`. In a Cluster it must not have a `{`.
   */
  readonly key?: string;
  /**
   * Entries that the outbox may have, waiting and in the hands of a relay together. Nothing is ever
   * trimmed, because that would lose failed writes: an outbox that is full takes no more. Default
   * 1,000,000. In a Cluster each of its 16 streams may have a sixteenth of them, so that no master
   * holds more than its share.
   */
  readonly maxEntries?: number;
  /** How long `publish` may try, in ms. Default 10,000. */
  readonly timeoutMs?: number;
}

export interface Outbox extends RecordSink {
  /**
   * Resolves when the source has all records. They are there twice when an answer was lost, which
   * their ids make harmless. Of a Cluster the masters that answer have taken theirs even when it
   * rejects because of another.
   * @throws OutboxFullError, OutboxUnavailableError
   */
  publish(records: readonly FailedWrite[]): Promise<void>;
  /** Connects now instead of at the first record, so that a wrong address shows at the start. */
  connect(): Promise<void>;
  /** Disconnects. Close the DualWriter first. */
  close(): Promise<void>;
}

/**
 * The outbox has as many entries as it may have. The message is one line: what, where, what to do.
 */
export class OutboxFullError extends Error {
  override readonly name = 'OutboxFullError';
  constructor(
    place: string,
    readonly entries: number,
    readonly maxEntries: number,
  ) {
    super(
      `the ${place} is full: it has ${entries} of ${counted(maxEntries, 'entry', 'entries')}; see that a bridge (keymend bridge or start) runs and ` +
        'reaches Kafka or Temporal, or raise maxEntries if the source has the memory',
    );
  }
}

/**
 * The source did not take the records in time. The message is one line: what, where, what to do.
 * `cause`: its last answer.
 */
export class OutboxUnavailableError extends Error {
  override readonly name = 'OutboxUnavailableError';
  constructor(place: string, cause: RedisFailure) {
    super(`the ${place} takes no records: the source ${explain(cause)}`, { cause });
  }
}

/** As many entries as one script can append without holding up the source, and as many bytes. */
const PART: PartLimits = { items: 500, bytes: 512 * 1024 };
/** Between the tries of one call. */
const PAUSES = { firstMs: 50, longestMs: 1_000 };
/** How long a stream whose master did not take records is asked only after its substitute. */
const AVOIDED_MS = 10_000;

/**
 * @example
 * records: [
 *   createKafkaRecordSink({ kafka: { brokers: ['kafka:9092'] }, topic: 'failed' }),
 *   createOutbox({ client: source }),
 * ]
 * @throws Error when the client is a Cluster and the key has a `{`
 */
export function createOutbox({
  client,
  key = OUTBOX_KEY,
  maxEntries = 1_000_000,
  timeoutMs = 10_000,
}: OutboxOptions): Outbox {
  const own = createOutboxClient(client);
  const streams = own.streamsOf(key);
  const maxEntriesOfStream = Math.ceil(maxEntries / streams.length);
  let closed = false;
  const patience = { place: `outbox ${key} at ${own.place}`, isClosed: () => closed };

  /**
   * Until when, by `performance.now()`, the right stream of an index is asked second, because its
   * master did not take records.
   */
  const avoidedUntil = new Map<number, number>();

  async function append(part: readonly EntryFields[], index: number, deadline: number): Promise<void> {
    const places = placesFor(index, streams);
    let turn = performance.now() < (avoidedUntil.get(index) ?? 0) ? 1 : 0;
    await tryUntil(deadline, patience, async () => {
      if (closed) throw new RedisFailure('CONNECTION', 'it was closed here');
      await own.ready();
      const place = turn++ % places.length;
      const stream = places[place]!;
      const reply = await own.evaluate(APPEND, stream, appendArguments(part, maxEntriesOfStream)).catch((error) => {
        // A silent master costs a timeout, which not every part shall pay.
        if (place === 0) avoidedUntil.set(index, performance.now() + AVOIDED_MS);
        throw error;
      });
      if (place === 0) avoidedUntil.delete(index);
      const { outcome, entries, setAside } = appended(reply);
      if (setAside !== null) process.emitWarning(describeSetAside(stream, own.place, setAside), 'KeymendWarning');
      if (outcome === 'appended') return null;
      const full = new OutboxFullError(`outbox ${stream} at ${own.place}`, entries, maxEntriesOfStream);
      if (place === 0) throw full;
      // The right one may take a moment later what its substitute has no room for.
      return full;
    });
  }

  return {
    async publish(records) {
      const deadline = performance.now() + timeoutMs;
      const published = [...byStream(records, streams.length)].map(async ([index, ofStream]) => {
        for (const part of inParts(entriesOf(ofStream), sizeOf, PART)) await append(part, index, deadline);
      });
      // All masters are asked at once: those that answer must not wait for one that does not.
      for (const outcome of await Promise.allSettled(published)) {
        if (outcome.status === 'rejected') throw outcome.reason;
      }
    },
    connect: () =>
      tryUntil(0, patience, async () => {
        await own.ready();
        return null;
      }),
    async close() {
      closed = true;
      own.close();
    },
  };
}

/**
 * @param work resolves with null when it is done; with an error, or rejecting with a RedisFailure,
 *   it is tried again
 * @throws the last error; rather that the right master did not answer than that its substitute is
 *   full, for nobody would need the substitute were it there
 */
async function tryUntil(
  deadline: number,
  { place, isClosed }: { readonly place: string; readonly isClosed: () => boolean },
  work: () => Promise<OutboxFullError | null>,
): Promise<void> {
  let unavailable: OutboxUnavailableError | null = null;
  const attempt = async () => {
    try {
      const full = await work();
      return full && (unavailable ?? full);
    } catch (error) {
      if (!(error instanceof RedisFailure)) throw error;
      unavailable = new OutboxUnavailableError(place, error);
      return unavailable;
    }
  };
  await untilDeadline(attempt, { deadline, pauses: PAUSES, isClosed });
}

/** Records of one key stay in their order: they have one stream. */
function byStream(records: readonly FailedWrite[], streams: number): Map<number, FailedWrite[]> {
  if (streams === 1) return new Map([[0, [...records]]]);
  const groups = new Map<number, FailedWrite[]>();
  for (const record of records) {
    const { key, encoding = 'utf8' } = record;
    const index = clusterStreamIndex(slotOf(keyBytes({ key, encoding })));
    const group = groups.get(index);
    if (group) group.push(record);
    else groups.set(index, [record]);
  }
  return groups;
}

/**
 * The streams to try in turn. Where the master of the right one does not answer, the stream half of
 * the slots away takes its records, which is nearly always on another master: better out of their
 * order, which repairs do not depend on, than not at all.
 */
function placesFor(index: number, streams: readonly string[]): readonly string[] {
  return streams.length === 1 ? streams : [streams[index]!, streams[(index + streams.length / 2) % streams.length]!];
}

/** One by one, as they are asked for: what waits for the source need not be there twice. */
function* entriesOf(records: readonly FailedWrite[]): Generator<EntryFields> {
  for (const record of records) yield outboxFields(record);
}

function sizeOf(fields: EntryFields): number {
  return fields.reduce((sum, field) => sum + field.length, 0);
}
