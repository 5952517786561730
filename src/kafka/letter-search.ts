/**
 * Whether a letter is in the dead-letter topic already. Kafka knows a message again only within one
 * producer, so whoever may have published it before looks from where the topic ended earlier.
 */
import { type Kafka, type KafkaMessage, Partitioners, type PartitionMetadata } from 'kafkajs';
import { LETTER_ID } from '../events/dead-letter.js';
import { kafkaErrorType } from './client.js';
import { type Cluster, connectCluster } from './protocol/cluster.js';
import { readWhatCanBeRead } from './protocol/unreadable.js';

/** Of one fetch. */
const FETCH_BYTES = 1024 * 1024;
const FETCH_WAIT_MS = 100;
const MOST_ASKED = 10;
/** Ends serve for so long: what is a little too early only makes the look longer. */
const ENDS_SERVE_MS = 5_000;
/** Ids that are kept of a partition: about 50 bytes each. Behind that it is read anew. */
const MOST_IDS = 1_000_000;

/** What was read of a partition: the ids of all letters from the one offset up to the other. */
interface ReadPart {
  readonly from: bigint;
  readonly next: bigint;
  /** Grows while the part is read on; more than was told of is true all the same. */
  readonly ids: Set<string>;
}

const partitioner = Partitioners.DefaultPartitioner();

export class LetterSearch {
  readonly #kafka: Kafka;
  readonly #topic: string;
  #cluster: Promise<Cluster> | undefined;
  #ends: { readonly until: number; readonly offsets: Promise<string[]> } | undefined;
  /** By partition. Each is read by one at a time, and what one has read serves the next. */
  readonly #read = new Map<number, Promise<ReadPart>>();

  constructor(kafka: Kafka, topic: string) {
    this.#kafka = kafka;
    this.#topic = topic;
    readWhatCanBeRead();
  }

  /**
   * Where each partition ends, in their order: whatever is published from now on is behind that.
   * @throws an error of kafkajs when that can't be had
   */
  ends(): Promise<readonly string[]> {
    if (this.#ends !== undefined && performance.now() < this.#ends.until) return this.#ends.offsets;
    const offsets = this.#withCluster((cluster) => this.#offsets(cluster, false));
    const ends = { until: Number.POSITIVE_INFINITY, offsets };
    this.#ends = ends;
    // Also that they can't be had: thousands may ask while Kafka is away.
    const settled = () => {
      ends.until = performance.now() + ENDS_SERVE_MS;
    };
    offsets.then(settled, settled);
    return offsets;
  }

  /**
   * @param behind as `ends` said before the letter can have been published
   * @throws an error of kafkajs when that can't be found out
   */
  async has(key: Buffer | null, id: string, behind: readonly string[]): Promise<boolean> {
    // One that has been given partitions since may have the key in another one than then.
    const now = await this.#withCluster(async (cluster) => {
      await cluster.refreshMetadata();
      return cluster.findTopicPartitionMetadata(this.#topic).length;
    });
    const partitions = new Set([behind.length, now].map((count) => this.#partitionOf(key, count)));
    for (const partition of partitions) {
      const { ids } = await this.#readFrom(partition, BigInt(behind[partition] ?? 0));
      if (ids.has(id)) return true;
    }
    return false;
  }

  async close(): Promise<void> {
    const last = this.#cluster;
    this.#cluster = undefined;
    await last?.then((cluster) => cluster.disconnect()).catch(() => {});
  }

  #partitionOf(key: Buffer | null, count: number): number {
    // Of a message with a key the number of partitions alone matters.
    const partitionMetadata = Array.from({ length: count }, () => ({}) as PartitionMetadata);
    return partitioner({ topic: this.#topic, partitionMetadata, message: { key, value: null } });
  }

  async #readFrom(partition: number, from: bigint): Promise<ReadPart> {
    const before = this.#read.get(partition) ?? Promise.resolve(null as ReadPart | null);
    const reading = before
      .catch(() => null)
      .then((read) => {
        const goesOn = read !== null && read.ids.size < MOST_IDS && read.from <= from && from <= read.next;
        const part = goesOn ? read : { from, next: from, ids: new Set<string>() };
        return this.#withCluster((cluster) => this.#readOn(cluster, partition, part));
      });
    this.#read.set(partition, reading);
    return reading;
  }

  async #readOn(cluster: Cluster, partition: number, read: ReadPart): Promise<ReadPart> {
    const ends = await this.#offsets(cluster, false);
    const end = BigInt(ends[partition] ?? 0);
    const { from, ids } = read;
    let { next } = read;
    while (next < end) {
      const messages = await this.#fetch(cluster, partition, next).catch(async (error: unknown) => {
        if (kafkaErrorType(error) !== 'OFFSET_OUT_OF_RANGE') throw error;
        // What was there is removed; it goes on with what is left.
        const starts = await this.#offsets(cluster, true);
        next = BigInt(starts[partition]!) - 1n;
        return [] as KafkaMessage[];
      });
      for (const { headers } of messages) {
        const id = headers?.[LETTER_ID];
        if (id !== undefined) ids.add(String(id));
      }
      const last = messages.at(-1);
      // Nothing to read before the end: markers of transactions, or what compaction has taken.
      next = last === undefined ? next + 1n : BigInt(last.offset) + 1n;
    }
    return { from, next, ids };
  }

  async #fetch(cluster: Cluster, partition: number, from: bigint): Promise<readonly KafkaMessage[]> {
    const [nodeId] = Object.keys(cluster.findLeaderForPartitions(this.#topic, [partition]));
    const broker = await cluster.findBroker({ nodeId: nodeId! });
    const wanted = { partition, fetchOffset: String(from), maxBytes: FETCH_BYTES };
    const request = {
      maxWaitTime: FETCH_WAIT_MS,
      minBytes: 1,
      maxBytes: FETCH_BYTES,
      isolationLevel: 0,
      topics: [{ topic: this.#topic, partitions: [wanted] }],
    };
    for (let asked = 1; asked <= MOST_ASKED; asked++) {
      const { responses } = await broker.fetch(request);
      const fetched = responses[0]?.partitions[0];
      // A batch comes as a whole, also what is in front of the offset.
      if (fetched !== undefined) return fetched.messages.filter(({ offset }) => BigInt(offset) >= from);
      // A user that has spent its quota gets an answer without the partition, which says nothing of
      // what is there. kafkajs holds the next request back for as long as the broker says.
    }
    throw new Error(`the broker gives nothing of ${this.#topic}[${partition}], most likely for a quota of this user`);
  }

  async #offsets(cluster: Cluster, fromBeginning: boolean): Promise<string[]> {
    const partitions = cluster
      .findTopicPartitionMetadata(this.#topic)
      .map(({ partitionId }) => ({ partition: partitionId }));
    const [found] = await cluster.fetchTopicsOffset([{ topic: this.#topic, partitions, fromBeginning }]);
    const offsets: string[] = [];
    for (const { partition, offset } of found?.partitions ?? []) offsets[partition] = offset;
    return offsets;
  }

  /** After a failure with new connections, and what is known of the topic asked for anew. */
  async #withCluster<T>(work: (cluster: Cluster) => Promise<T>): Promise<T> {
    this.#cluster ??= this.#connect();
    const used = this.#cluster;
    try {
      return await work(await used);
    } catch (error) {
      if (this.#cluster === used) this.#cluster = undefined;
      void used.then((cluster) => cluster.disconnect()).catch(() => {});
      throw error;
    }
  }

  async #connect(): Promise<Cluster> {
    const cluster = await connectCluster(this.#kafka);
    if (cluster === null) throw new Error('this version of kafkajs is not known');
    await cluster.addTargetTopic(this.#topic);
    return cluster;
  }
}
