/**
 * Writes that may have crossed with those of another writer. A key that several writers change all
 * the time would get a record for each write, and one stands for many: a key gets one at once, and
 * after that one at the end of each interval in which it crossed again.
 */
import type { Write } from '../source/write.js';
import type { MirrorFailure } from '../target/mirror-failure.js';

/** Between two records of a key, at least. */
const CROSSING_INTERVAL_MS = 1_000;
/** Of all keys, and of their arguments. More are handed over before the interval is over. */
const MOST_HELD = 1_000;
const MOST_HELD_BYTES = 1024 * 1024;

type HandOver = (writes: readonly Write[], failure: MirrorFailure, number: number) => void;

interface Held {
  readonly writes: Write[];
  failure: MirrorFailure;
  number: number;
}

export class Crossings {
  readonly #handOver: HandOver;
  /** Keys that had a record in this interval, and what crossed of them since; null: nothing. */
  readonly #keys = new Map<string, Held | null>();
  #held = 0;
  #heldBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param handOver makes the records of writes */
  constructor(handOver: HandOver) {
    this.#handOver = handOver;
  }

  /** How many writes wait for the end of the interval. */
  get size(): number {
    return this.#held;
  }

  /** @param number the place of the writes in the order of the source's replies */
  add(writes: readonly Write[], failure: MirrorFailure, number: number): void {
    const name = nameOfOnlyKey(writes);
    const held = name === null ? undefined : this.#keys.get(name);
    if (held === undefined) {
      if (name !== null) this.#keys.set(name, null);
      this.#handOver(writes, failure, number);
      this.#wait();
      return;
    }
    this.#held += writes.length;
    for (const { args } of writes) for (const argument of args) this.#heldBytes += argument.length;
    if (held === null) this.#keys.set(name!, { writes: [...writes], failure, number });
    else {
      held.writes.push(...writes);
      Object.assign(held, { failure, number });
    }
    if (this.#held >= MOST_HELD || this.#heldBytes >= MOST_HELD_BYTES) this.flush();
  }

  /** Hands over what waits. */
  flush(): void {
    this.#held = 0;
    this.#heldBytes = 0;
    for (const [name, held] of this.#keys) {
      if (held === null) continue;
      this.#keys.set(name, null);
      this.#handOver(held.writes, held.failure, held.number);
    }
  }

  #nextInterval(): void {
    this.#timer = undefined;
    for (const [name, held] of this.#keys) if (held === null) this.#keys.delete(name);
    this.flush();
    this.#wait();
  }

  /** For the end of the interval, as long as there is a key that had a record in it. */
  #wait(): void {
    if (this.#keys.size > 0) this.#timer ??= setTimeout(() => this.#nextInterval(), CROSSING_INTERVAL_MS).unref();
  }
}

/** null: they have several. */
function nameOfOnlyKey(writes: readonly Write[]): string | null {
  const [first] = writes[0]!.keys;
  const isOnly = writes.every(({ keys }) => keys.length === 1 && keys[0]!.equals(first!));
  return isOnly ? first!.toString('latin1') : null;
}
