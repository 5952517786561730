/**
 * Reads a topic from one offset to another without a consumer group: nothing is joined, committed
 * or left behind, and who reads needs no rights but to read.
 */
import { createRequire } from 'node:module';
import type { Admin, Kafka, KafkaMessage } from 'kafkajs';
import type { IntakeRecord } from '../events/intake.js';
import { backOff } from '../patience/back-off.js';
import { explainDenied, isDenied, kafkaErrorType } from './client.js';
import { type Cluster, connectCluster, type FetchedPartition } from './protocol/cluster.js';
import { readWhatCanBeRead } from './protocol/unreadable.js';
import { recordOf } from './record.js';

/** Of one partition. */
export interface OffsetRange {
  /** Of the first record that is there, or will be. */
  readonly low: bigint;
  /** Behind the last one. */
  readonly high: bigint;
}

export interface TopicReader {
  /** @throws Error in one line */
  ranges(): Promise<ReadonlyMap<number, OffsetRange>>;
  /**
   * The records of a partition between two offsets, the second not included, page by page: no more
   * than one page is in memory. What is gone by then (retention, compaction) and what belongs to
   * transactions that were not committed is left out.
   * @param bytes of a page, about
   * @throws Error in one line
   */
  pages(partition: number, from: bigint, until: bigint, bytes?: number): AsyncGenerator<Page>;
  close(): Promise<void>;
}

interface ReadRecord extends IntakeRecord {
  /** When the broker took it, in ms since the epoch; null: its time is what its producer said. */
  readonly appendedAt: number | null;
}

interface Page {
  readonly records: readonly ReadRecord[];
  /** Where the next one begins. */
  readonly next: bigint;
}

const PAGE_BYTES = 1024 * 1024;
/** A batch is never larger than what a topic takes. */
const LARGEST_PAGE_BYTES = 64 * 1024 * 1024;
const FETCH_WAIT_MS = 500;
const ATTEMPTS = 6;
const NEVER = new AbortController().signal;

/** @param kafka its brokers are connected with the first use */
export function createTopicReader(kafka: Kafka, topic: string): TopicReader {
  readWhatCanBeRead();
  const connection = new Connection(kafka, topic);
  return {
    ranges: () => connection.ranges(),

    async *pages(partition, from, until, bytes = PAGE_BYTES) {
      let next = from;
      for (let room = bytes; next < until; ) {
        const data = await connection.fetch(partition, next, room);
        if (data === null) {
          // What was removed meanwhile is passed over; a topic that was made anew ends elsewhere.
          const low = (await connection.ranges()).get(partition)?.low ?? until;
          if (low <= next) return;
          next = low;
          continue;
        }
        const { messages, behind } = committed(topic, next, data);
        if (behind === null) {
          // A page of nothing but removed records, or the end that is known so far.
          if (next >= BigInt(data.lastStableOffset) || room >= LARGEST_PAGE_BYTES) return;
          room *= 8;
          continue;
        }
        // What was written meanwhile is not told of here: whoever goes on from here gets it.
        next = behind;
        if (next > until) next = until;
        room = bytes;
        const records = messages.filter(({ offset }) => BigInt(offset) < until);
        yield { records: records.map((message) => readRecord({ topic, partition }, message)), next };
      }
    },

    close: () => connection.close(),
  };
}

class Connection {
  readonly #kafka: Kafka;
  readonly #topic: string;
  #connecting: ReturnType<typeof connect> | undefined;

  constructor(kafka: Kafka, topic: string) {
    this.#kafka = kafka;
    this.#topic = topic;
  }

  /** @throws Error in one line */
  async ranges(): Promise<ReadonlyMap<number, OffsetRange>> {
    try {
      const offsets = await (await this.#connected()).admin.fetchTopicOffsets(this.#topic);
      return new Map(offsets.map(({ partition, low, high }) => [partition, { low: BigInt(low), high: BigInt(high) }]));
    } catch (error) {
      throw refused(this.#topic, error);
    }
  }

  /** @returns null: the offset is gone, or not there yet. @throws Error in one line */
  async fetch(partition: number, from: bigint, bytes: number): Promise<FetchedPartition | null> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#fetchOnce(partition, from, bytes);
      } catch (error) {
        if (kafkaErrorType(error) === 'OFFSET_OUT_OF_RANGE') return null;
        if (attempt === ATTEMPTS || isDenied(error)) throw refused(this.#topic, error);
        // A leader has changed, or a connection broke.
        await backOff(attempt, NEVER);
        await this.#connecting?.then(({ cluster }) => cluster.refreshMetadata()).catch(() => {});
      }
    }
  }

  async #fetchOnce(partition: number, from: bigint, bytes: number): Promise<FetchedPartition> {
    const { cluster } = await this.#connected();
    await cluster.addTargetTopic(this.#topic);
    const [nodeId] = Object.keys(cluster.findLeaderForPartitions(this.#topic, [partition]));
    if (nodeId === undefined) throw new Error(`partition ${partition} has no leader`);
    const broker = await cluster.findBroker({ nodeId });
    const partitions = [{ partition, fetchOffset: String(from), maxBytes: bytes }];
    const { responses } = await broker.fetch({
      maxWaitTime: FETCH_WAIT_MS,
      minBytes: 1,
      maxBytes: bytes,
      isolationLevel: 1,
      topics: [{ topic: this.#topic, partitions }],
    });
    const fetched = responses[0]?.partitions[0];
    // Without the partition: this says nothing of what is there, so it is asked again.
    if (fetched === undefined) throw new Error('the broker gives nothing, most likely for a quota of this user');
    return fetched;
  }

  #connected(): ReturnType<typeof connect> {
    this.#connecting ??= connect(this.#kafka).catch((error: unknown) => {
      this.#connecting = undefined;
      throw error;
    });
    return this.#connecting;
  }

  async close(): Promise<void> {
    const last = await this.#connecting?.catch(() => undefined);
    this.#connecting = undefined;
    await Promise.all([last?.admin.disconnect(), last?.cluster.disconnect()]).catch(() => {});
  }
}

async function connect(kafka: Kafka): Promise<{ readonly cluster: Cluster; readonly admin: Admin }> {
  const cluster = await connectCluster(kafka);
  if (cluster === null) throw new Error('this version of kafkajs is not known');
  const admin = kafka.admin();
  await admin.connect();
  return { cluster, admin };
}

/** kafkajs' own idea of what of a fetch is for readers. */
interface Batch {
  readonly messages: KafkaMessage[];
  /** With what readers do not get to see. */
  readonly rawMessages: KafkaMessage[];
}

/** @returns `behind`: where to go on; null when nothing came */
function committed(topic: string, from: bigint, data: FetchedPartition) {
  const KafkaBatch: new (topic: string, fetchedOffset: string, data: FetchedPartition) => Batch = createRequire(
    import.meta.url,
  )('kafkajs/src/consumer/batch');
  const { messages, rawMessages } = new KafkaBatch(topic, String(from), data);
  const last = rawMessages.at(-1);
  const behind = last === undefined ? null : BigInt(last.offset) + 1n;
  return { messages, behind: behind !== null && behind > from ? behind : null };
}

/** kafkajs' types leave it out: with `message.timestamp.type=LogAppendTime` it is 1. */
type MessageOfBatch = KafkaMessage & { readonly batchContext?: { readonly timestampType?: number } };

const LOG_APPEND_TIME = 1;

function readRecord(place: { readonly topic: string; readonly partition: number }, message: KafkaMessage): ReadRecord {
  const isAppendTime = (message as MessageOfBatch).batchContext?.timestampType === LOG_APPEND_TIME;
  return { ...recordOf(place, message), appendedAt: isAppendTime ? Number(message.timestamp) : null };
}

function refused(topic: string, error: unknown): Error {
  return new Error(`the topic ${topic} can't be read: ${explainDenied(error, 'READ', 'topic', topic)}`, {
    cause: error,
  });
}
