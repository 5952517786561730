/**
 * Notices records that are lost to this group: removed before they were read, or gone with a topic
 * that was deleted and made anew. kafkajs goes on at the oldest record without a word of how many.
 */
import type { Admin, Kafka } from 'kafkajs';
import type { Logger } from 'pino';
import type { NoticedGap } from '../../workflows/gap-messages.js';
import type { KafkaConfig } from '../config.js';
import { kafkaErrorMessage } from './client.js';
import { type TopicIds, topicIds } from './topic-id.js';

interface TopicWatchOptions {
  readonly kafka: Kafka;
  readonly admin: Admin;
  readonly config: KafkaConfig;
  readonly logger: Logger;
  /** Resolves when the gap is kept. */
  readonly onGap: (gap: NoticedGap) => Promise<void>;
  /** Reads a partition again from an offset on. */
  readonly seek: (partition: number, offset: string) => void;
}

/** How far a partition is read. Offsets are beyond what a number holds. */
interface Position {
  /** Of the first record that is not accepted. */
  next: bigint;
  /** Behind what this process holds in its memory. */
  readonly fetched: bigint;
}

/** Of what a partition has now: its first offset, and the one behind its last. */
interface Ends {
  readonly low: bigint;
  readonly high: bigint;
}

export class TopicWatch {
  readonly #options: TopicWatchOptions;
  readonly #ids: TopicIds;
  /** As this process has read them since they were shared out. */
  readonly #read = new Map<number, Position>();
  /** As anybody in the group has committed them, and seen last. */
  readonly #committed = new Map<number, bigint>();
  readonly #noticed = new Set<string>();
  /** Before the first time they are shared out all are looked at: others may not look. */
  #assigned: ReadonlySet<number> | null = null;
  #topicId: string | null = null;

  constructor(options: TopicWatchOptions) {
    this.#options = options;
    this.#ids = topicIds(options.kafka);
  }

  /** Looks at the whole topic. Never rejects. */
  look(): Promise<void> {
    return this.#quietly(async () => {
      const id = await this.#ids.idOf(this.#options.config.topic);
      if (id !== null && this.#topicId !== null && id !== this.#topicId) await this.#startAnew(id);
      else await this.#compareAll();
      // Only now: what failed on the way is looked at again.
      this.#topicId = id ?? this.#topicId;
    });
  }

  /** The partitions were shared out anew. */
  joined(partitions: readonly number[]): void {
    for (const [partition, { next }] of this.#read) this.#committed.set(partition, next);
    this.#read.clear();
    this.#assigned = new Set(partitions);
  }

  /** A batch came that was asked for from `offset` on, and ends at `last`. Never rejects. */
  async fetched(partition: number, offset: string, last: string): Promise<void> {
    const from = BigInt(offset);
    const at = this.#read.get(partition)?.next ?? this.#committed.get(partition) ?? from;
    this.#read.set(partition, { next: from, fetched: BigInt(last) + 1n });
    if (at === from) return;
    await this.#quietly(async () => {
      const now = (await this.#offsets()).get(partition);
      if (now) await this.#compare(partition, at, now);
    });
  }

  /** All up to here, included, is accepted. */
  accepted(partition: number, last: string): void {
    const position = this.#read.get(partition);
    if (position) position.next = BigInt(last) + 1n;
  }

  close(): Promise<void> {
    return this.#ids.close();
  }

  async #compareAll(): Promise<void> {
    const { admin, config } = this.#options;
    // What is there is looked at before and after where one is: each moves on meanwhile.
    const before = await this.#offsets();
    const [group] = await admin.fetchOffsets({ groupId: config.groupId, topics: [config.topic] });
    for (const { partition, offset } of group?.partitions ?? [])
      if (BigInt(offset) >= 0n) this.#committed.set(partition, BigInt(offset));
    const positions = new Map(this.#committed);
    for (const [partition, { fetched }] of this.#read) positions.set(partition, fetched);
    const after = await this.#offsets();
    for (const [partition, at] of positions) {
      if (this.#assigned !== null && !this.#assigned.has(partition)) continue;
      const [low, high] = [before.get(partition)?.low, after.get(partition)?.high];
      if (low !== undefined && high !== undefined) await this.#compare(partition, at, { low, high });
    }
  }

  async #compare(partition: number, at: bigint, { low, high }: Ends): Promise<void> {
    const place = `${this.#options.config.topic}[${partition}]`;
    if (at < low) {
      const which =
        low - at === 1n
          ? `1 record of ${place} (offset ${at}) was removed before it was read`
          : `${low - at} records of ${place} (offsets ${at} to ${low - 1n}) were removed before they were read`;
      const message = `${which}: raise the retention of the topic, and compare both sides`;
      await this.#notice({ id: `${place} from ${at}`, cause: 'removed', records: Number(low - at), message });
    } else if (at > high) {
      const message =
        `${place} ends at offset ${high}, but was read up to ${at}: the topic was made anew or has lost its end. It is read ` +
        'from its beginning; what was not read of the old one is lost: compare both sides';
      await this.#notice({ id: `${place} cut at ${at}`, cause: 'recreated', records: null, message });
    }
  }

  async #offsets(): Promise<Map<number, Ends>> {
    const now = await this.#options.admin.fetchTopicOffsets(this.#options.config.topic);
    return new Map(now.map(({ partition, low, high }) => [partition, { low: BigInt(low), high: BigInt(high) }]));
  }

  /** What is read of it so far may have begun in the middle. */
  async #startAnew(id: string): Promise<void> {
    const { config, seek } = this.#options;
    this.#read.clear();
    this.#committed.clear();
    for (const [partition, { low }] of await this.#offsets())
      if (this.#assigned?.has(partition)) seek(partition, String(low));
    const message =
      `the topic ${config.topic} was deleted and made anew; it is read from its beginning. What was not read of the old one ` +
      'is lost: compare both sides';
    await this.#notice({ id: `${config.topic} is now ${id}`, cause: 'recreated', records: null, message });
  }

  async #notice(gap: NoticedGap): Promise<void> {
    if (this.#noticed.has(gap.id)) return;
    this.#noticed.add(gap.id);
    await this.#options.onGap(gap);
  }

  async #quietly(work: () => Promise<void>): Promise<void> {
    const { logger, config } = this.#options;
    try {
      await work();
    } catch (error) {
      const fields = { error: kafkaErrorMessage(error) };
      logger.debug(fields, `Kafka: whether ${config.topic} has lost records is not known now`);
    }
  }
}
