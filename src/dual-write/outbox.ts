/** Failed-write records to the outbox on the source: where they wait while Kafka is away, or where the bridge reads them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { FailedWrite } from '../../workflows/messages.js';
import { type EntryFields, OUTBOX_KEY, outboxFields } from '../events/outbox.js';
import { APPEND, appendArguments, appended, explain, failureOf, type RedisFailure } from '../redis/index.js';
import type { RecordSink } from './publisher.js';

export interface OutboxOptions {
  /** A client of the source. Only its options are used: the outbox has a connection of its own, without `keyPrefix`. */
  readonly client: Redis;
  /** As `stream.key` of keymend.yaml. Default `keymend:outbox`. */
  readonly key?: string;
  /**
   * Entries that the outbox may have, waiting and in the hands of a relay together. Nothing is ever trimmed, because that would
   * lose failed writes: an outbox that is full takes no more. Default 1,000,000.
   */
  readonly maxEntries?: number;
  /** How long `publish` may try, in ms. Default 10,000. */
  readonly timeoutMs?: number;
}

export interface Outbox extends RecordSink {
  /**
   * Resolves when the source has all records. They are there twice when an answer was lost, which their ids make harmless.
   * @throws OutboxFullError, OutboxUnavailableError
   */
  publish(records: readonly FailedWrite[]): Promise<void>;
  /** Connects now instead of at the first record, so that a wrong address shows at the start. */
  connect(): Promise<void>;
  /** Disconnects. Close the DualWriter first. */
  close(): Promise<void>;
}

/** The outbox has as many entries as it may have. The message is one line: what, where, what to do. */
export class OutboxFullError extends Error {
  override readonly name = 'OutboxFullError';
  constructor(
    place: string,
    readonly entries: number,
    readonly maxEntries: number,
  ) {
    super(
      `the ${place} is full: it has ${entries} of ${maxEntries} entries; see that a bridge (keymend bridge or start) runs and ` +
        'reaches Kafka or Temporal, or raise maxEntries if the source has the memory',
    );
  }
}

/** The source did not take the records in time. The message is one line: what, where, what to do. `cause`: its last answer. */
export class OutboxUnavailableError extends Error {
  override readonly name = 'OutboxUnavailableError';
  constructor(place: string, cause: RedisFailure) {
    super(`the ${place} takes no records: the source ${explain(cause)}`, { cause });
  }
}

/** As many entries as one script can append without holding up the source, and as many bytes. */
const MAX_PART = 500;
const MAX_PART_BYTES = 512 * 1024;
const COMMAND_TIMEOUT_MS = 2_000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;

/**
 * @example
 * records: [
 *   createKafkaRecordSink({ kafka: { brokers: ['127.0.0.1:9092'] }, topic: 'keymend.failed-writes' }),
 *   createOutbox({ client: source }),
 * ]
 * @throws Error when the client is a Cluster
 */
export function createOutbox({
  client,
  key = OUTBOX_KEY,
  maxEntries = 1_000_000,
  timeoutMs = 10_000,
}: OutboxOptions): Outbox {
  if (client.isCluster) throw new Error('an outbox on a Cluster is not supported yet; give a client of one server');
  // Late or twice does no harm here; a queue that grows unseen would.
  const own = client.duplicate({
    keyPrefix: '',
    lazyConnect: true,
    protocol: 2,
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: COMMAND_TIMEOUT_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    reconnectOnError: null,
    // Reconnecting is up to `ready`.
    retryStrategy: () => null,
  });
  let lastError: unknown = null;
  own.on('error', (error: unknown) => {
    lastError = error;
  });
  let closed = false;
  const place = `outbox ${key} at ${own.options.path ?? `${own.options.host}:${own.options.port}`}`;

  async function ready(): Promise<void> {
    if (own.status === 'ready') return;
    lastError = null;
    // What connect() itself says is only "closed"; the reason came as an event.
    await own.connect().catch((error: unknown) => {
      throw lastError ?? error;
    });
    // ioredis goes on after a refused SELECT, in database 0, where nobody looks for an outbox.
    if (lastError !== null) {
      own.disconnect();
      throw lastError;
    }
  }

  async function append(part: readonly EntryFields[], deadline: number): Promise<void> {
    const reply = await untilDeadline(deadline, async () => {
      await ready();
      return own.eval(APPEND, 1, key, ...appendArguments(part, maxEntries));
    });
    const { outcome, entries } = appended(reply);
    if (outcome === 'full') throw new OutboxFullError(place, entries, maxEntries);
  }

  async function untilDeadline<T>(deadline: number, attempt: () => Promise<T>): Promise<T> {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        return await attempt();
      } catch (error) {
        const failure = failureOf(error);
        // Nothing says that this connection will ever answer again.
        if (failure.code === 'TIMEOUT') own.stream?.destroy();
        if (closed || Date.now() + pause > deadline) throw new OutboxUnavailableError(place, failure);
        await sleep(pause);
      }
    }
  }

  return {
    async publish(records) {
      const deadline = Date.now() + timeoutMs;
      for (const part of parts(records)) await append(part, deadline);
    },
    connect: () => untilDeadline(0, ready),
    async close() {
      closed = true;
      own.disconnect();
    },
  };
}

function* parts(records: readonly FailedWrite[]): Generator<EntryFields[]> {
  let part: EntryFields[] = [];
  let bytes = 0;
  for (const record of records) {
    const fields = outboxFields(record);
    const size = fields.reduce((sum, field) => sum + field.length, 0);
    if (part.length === MAX_PART || (part.length > 0 && bytes + size > MAX_PART_BYTES)) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(fields);
    bytes += size;
  }
  if (part.length > 0) yield part;
}
