/**
 * Notices records that are lost to this group: removed before they were read, or gone with a topic
 * that was deleted and made anew. kafkajs goes on at the oldest record without a word of how many.
 */
import type { Admin, Kafka } from 'kafkajs';
import type { Logger } from 'pino';
import type { NoticedGap } from '../../workflows/gap-messages.js';
import type { KafkaConfig } from '../config.js';
import { Outage } from '../patience/outage.js';
import { untilTaken } from '../patience/until-taken.js';
import { kafkaErrorMessage } from './client.js';
import { type TopicIds, topicIds } from './protocol/topic-id.js';

interface TopicWatchOptions {
  readonly kafka: Kafka;
  readonly admin: Admin;
  readonly config: KafkaConfig;
  readonly logger: Logger;
  /** Resolves when the gap is kept, or when aborted. */
  readonly onGap: (gap: NoticedGap, signal: AbortSignal) => Promise<void>;
  /** Aborted when nothing more is read. */
  readonly closing: AbortSignal;
  /** Nothing that was fetched so far is to be accepted. */
  readonly drop: () => void;
  /** Reads a partition again from an offset on. */
  readonly seek: (partition: number, offset: string) => void;
  /** The group goes on from there, so that nobody meets what is lost again. Does not reject. */
  readonly commit: (partition: number, offset: string) => Promise<void>;
}

/** How far a partition is read. Offsets are beyond what a number holds. */
interface Position {
  /** Of the first record that is neither accepted nor told of as lost; null: as committed. */
  next: bigint | null;
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
  readonly #outage: Outage;
  /** As this process has read them since they were shared out. */
  readonly #read = new Map<number, Position>();
  /** As anybody in the group has committed them, and seen last. */
  readonly #committed = new Map<number, bigint>();
  /** By the id of the gap; resolve when it is kept. */
  readonly #noticed = new Map<string, Promise<void>>();
  /** Whether it is known what the group has committed. */
  #isKnown = false;
  /** While that the topic was made anew is not kept: nothing of the new one is handled before. */
  #telling: Promise<void> | null = null;
  /** Before the first time they are shared out all are looked at: others may not look. */
  #assigned: ReadonlySet<number> | null = null;
  #topicId: string | null = null;

  constructor(options: TopicWatchOptions) {
    this.#options = options;
    this.#ids = topicIds(options.kafka);
    this.#outage = new Outage(options.logger, `Kafka does not say what ${options.config.topic} holds`);
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
    for (const [partition, { next }] of this.#read) if (next !== null) this.#committed.set(partition, next);
    this.#read.clear();
    this.#assigned = new Set(partitions);
  }

  /**
   * A batch came that was asked for from `offset` on, and ends at `last`. Never rejects.
   * @param unwanted aborted when nobody waits any more
   * @returns whether all that is lost in front of it is told, so that it may be handled
   */
  async fetched(partition: number, offset: string, last: string, unwanted: AbortSignal): Promise<boolean> {
    const from = BigInt(offset);
    const position: Position = { next: this.#nextOf(partition) ?? null, fetched: BigInt(last) + 1n };
    // Until then it is read no further: whoever goes on after a rebalance meets the gap again.
    this.#read.set(partition, position);
    const explain = kafkaErrorMessage;
    const tell = () => unlessAborted(this.#tellBefore(partition, from), unwanted);
    const isTold = await untilTaken(tell, { outage: this.#outage, explain, signal: unwanted });
    if (!isTold || unwanted.aborted || this.#options.closing.aborted) return false;
    position.next = from;
    return true;
  }

  /** All up to here, included, is accepted. */
  accepted(partition: number, last: string): void {
    const position = this.#read.get(partition);
    if (position) position.next = BigInt(last) + 1n;
  }

  close(): Promise<void> {
    return this.#ids.close();
  }

  /** Of the first record that is neither accepted nor told of as lost, as far as that is known. */
  #nextOf(partition: number): bigint | undefined {
    return this.#read.get(partition)?.next ?? this.#committed.get(partition);
  }

  async #tellBefore(partition: number, from: bigint): Promise<void> {
    await this.#telling;
    if (!this.#isKnown) await this.#askCommitted();
    const at = this.#nextOf(partition);
    if (at === undefined || at === from) return;
    const now = (await this.#offsets()).get(partition);
    if (now) await this.#compare(partition, at, now);
  }

  async #askCommitted(): Promise<void> {
    const { admin, config } = this.#options;
    const [group] = await admin.fetchOffsets({ groupId: config.groupId, topics: [config.topic] });
    for (const { partition, offset } of group?.partitions ?? [])
      if (BigInt(offset) >= 0n) this.#committed.set(partition, BigInt(offset));
    this.#isKnown = true;
  }

  async #compareAll(): Promise<void> {
    // What is there is looked at before and after where one is: each moves on meanwhile.
    const before = await this.#offsets();
    await this.#askCommitted();
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
      // With its end: what has grown since it was told, before anybody went on, is not the same.
      const id = `${place} from ${at} to ${low - 1n}`;
      await this.#notice({ id, cause: 'removed', records: Number(low - at), message });
      await this.#passed(partition, at, low);
    } else if (at > high) {
      const message =
        `${place} ends at offset ${high}, but was read up to ${at}: the topic was made anew or has lost its end. It is read ` +
        'from its beginning; what was not read of the old one is lost: compare both sides';
      await this.#notice({ id: `${place} cut at ${at}`, cause: 'recreated', records: null, message });
      await this.#passed(partition, at, low);
    }
  }

  /** What was lost from `at` on is told. There may be no record behind it for a long time. */
  async #passed(partition: number, at: bigint, low: bigint): Promise<void> {
    const { closing, commit } = this.#options;
    // Not while others read it, nor when something behind it was accepted meanwhile.
    if (closing.aborted || !this.#assigned?.has(partition) || this.#nextOf(partition) !== at) return;
    const position = this.#read.get(partition);
    if (position) position.next = low;
    this.#committed.set(partition, low);
    await commit(partition, String(low));
  }

  async #offsets(): Promise<Map<number, Ends>> {
    const now = await this.#options.admin.fetchTopicOffsets(this.#options.config.topic);
    return new Map(now.map(({ partition, low, high }) => [partition, { low: BigInt(low), high: BigInt(high) }]));
  }

  /** What is read of it so far may have begun in the middle. */
  async #startAnew(id: string): Promise<void> {
    const { config, seek, drop, closing } = this.#options;
    this.#read.clear();
    this.#committed.clear();
    drop();
    const message =
      `the topic ${config.topic} was deleted and made anew; it is read from its beginning. What was not read of the old one ` +
      'is lost: compare both sides';
    const gap: NoticedGap = { id: `${config.topic} is now ${id}`, cause: 'recreated', records: null, message };
    this.#telling = this.#notice(gap);
    await this.#telling;
    // A seek commits where it goes to, so it comes behind the telling.
    if (closing.aborted) return;
    for (const [partition, { low }] of await this.#offsets())
      if (this.#assigned?.has(partition)) seek(partition, String(low));
    this.#telling = null;
  }

  /** Resolves when the gap is kept, whoever has noticed it; or when closing. */
  async #notice(gap: NoticedGap): Promise<void> {
    const { onGap, closing } = this.#options;
    // Whoever reads on meets it.
    if (closing.aborted) return;
    const kept = this.#noticed.get(gap.id) ?? onGap(gap, closing);
    this.#noticed.set(gap.id, kept);
    try {
      await kept;
    } catch (error) {
      // It is told again.
      this.#noticed.delete(gap.id);
      throw error;
    }
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

/** Waits for the work, but no longer than until the signal; what it comes to then is nobody's. */
async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const waited = new AbortController();
  const aborted = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true, signal: waited.signal });
    if (signal.aborted) resolve();
  });
  try {
    await Promise.race([work, aborted]);
  } finally {
    waited.abort();
  }
}
