/** Which letters of a topic are resolved, kept up with what comes. */
import type { IntakeRecord } from '../events/intake.js';
import type { TopicIds } from '../kafka/protocol/topic-id.js';
import type { OffsetRange, TopicReader } from '../kafka/topic-reader.js';
import { headerText, RESOLVES } from './letter.js';
import { OffsetSet, readRanges } from './offset-set.js';

/** What is known of a partition. */
interface Known {
  readonly offsets: OffsetSet;
  /** All in front of it was looked at. */
  next: bigint;
}

export class ResolvedOffsets {
  readonly #partitions = new Map<number, Known>();
  readonly #reader: TopicReader;
  readonly #idOf: () => ReturnType<TopicIds['idOf']>;
  #id: string | null = null;
  #looking: Promise<unknown> = Promise.resolve();

  /** @param idOf which topic it is that is read */
  constructor(reader: TopicReader, idOf: () => ReturnType<TopicIds['idOf']>) {
    this.#reader = reader;
    this.#idOf = idOf;
  }

  has(partition: number, offset: string): boolean {
    return this.#partitions.get(partition)?.offsets.has(BigInt(offset)) ?? false;
  }

  /**
   * Looks at what has come since the last look. One look after the other, whoever asks.
   * @returns what of the topic was there
   * @throws Error in one line
   */
  look(): Promise<ReadonlyMap<number, OffsetRange>> {
    const looked = this.#looking.then(async () => {
      await this.#forgetAnother();
      const ranges = await this.#reader.ranges();
      for (const [partition, range] of ranges) await this.#lookAt(partition, range);
      return ranges;
    });
    this.#looking = looked.catch(() => {});
    return looked;
  }

  /** Offsets of a topic that was made anew would stand for other letters. */
  async #forgetAnother(): Promise<void> {
    const id = await this.#idOf().catch(() => null);
    if (id === null || id === this.#id) return;
    if (this.#id !== null) this.#partitions.clear();
    this.#id = id;
  }

  async #lookAt(partition: number, { low, high }: OffsetRange): Promise<void> {
    const known = this.#partitions.get(partition);
    // It was made anew, and nobody could tell.
    const state = known === undefined || known.next > high ? { offsets: new OffsetSet(), next: low } : known;
    this.#partitions.set(partition, state);
    for await (const { records, next } of this.#reader.pages(partition, state.next, high)) {
      for (const record of records) note(state.offsets, record);
      state.next = next;
    }
  }
}

function note(resolved: OffsetSet, record: IntakeRecord): void {
  const ranges = headerText(record, RESOLVES);
  if (ranges === undefined) return;
  const own = BigInt(record.position.offset);
  let isFirst = false;
  for (const offset of readRanges(ranges)) {
    // What is behind it has come later: it was meant for the topic that had this name before.
    if (offset < own) isFirst = resolved.add(offset) || isFirst;
  }
  // It came twice, most likely because the first answer was lost.
  if (!isFirst) resolved.add(own);
}
