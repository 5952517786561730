/**
 * Writes that the target has, while nobody knows whether it has them in the right order and once. A
 * key that several writers change all the time would get a record for each write, and one stands
 * for many: a key gets one at once, and after that one at the end of each interval.
 */
import type { Write } from '../source/write.js';
import type { MirrorFailure } from '../target/mirror-failure.js';
import { byKey } from './to-records.js';

/** Between two records of a key, at least. */
const INTERVAL_MS = 1_000;
/** Of all keys. More are handed over before the interval is over. */
const MOST_HELD = 1_000;
/** The same of their arguments; and of the names of the keys, which are forgotten then. */
const MOST_BYTES = 1024 * 1024;

type HandOver = (key: Buffer, writes: readonly Write[], failure: MirrorFailure) => void;

export class Doubts {
  readonly #handOver: HandOver;
  /** Keys that had a record in this interval, and what came of them since. */
  readonly #keys = new Map<string, Parameters<HandOver>[]>();
  #nameBytes = 0;
  #held = 0;
  #heldBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param handOver makes a record of the key, of all that it is given in one turn of the event
   *   loop; each of the writes names the key
   */
  constructor(handOver: HandOver) {
    this.#handOver = handOver;
  }

  /** How many writes wait for the end of the interval; those of several keys for each of these. */
  get size(): number {
    return this.#held;
  }

  /** @param failure why, and of which keys */
  add(writes: readonly Write[], failure: MirrorFailure): void {
    const heldBefore = this.#held;
    for (const [name, { key, ofKey }] of byKey(writes, failure.keys)) this.#add(name, key, ofKey, failure);
    // Counted once for all of their keys.
    if (this.#held > heldBefore) {
      for (const { args } of writes) for (const argument of args) this.#heldBytes += argument.length;
    }
    if (this.#held >= MOST_HELD || this.#heldBytes >= MOST_BYTES) this.flush();
  }

  /** Hands over what waits. */
  flush(): void {
    this.#held = 0;
    this.#heldBytes = 0;
    for (const held of this.#keys.values()) {
      for (const doubt of held.splice(0)) this.#handOver(...doubt);
    }
  }

  #add(name: string, ...doubt: Parameters<HandOver>): void {
    const held = this.#keys.get(name);
    if (held === undefined) {
      this.#begin(name);
      this.#handOver(...doubt);
    } else {
      held.push(doubt);
      this.#held += doubt[1].length;
    }
  }

  #begin(name: string): void {
    if (this.#nameBytes >= MOST_BYTES) {
      this.flush();
      this.#keys.clear();
      this.#nameBytes = 0;
    }
    this.#keys.set(name, []);
    this.#nameBytes += name.length;
    this.#wait();
  }

  #nextInterval(): void {
    this.#timer = undefined;
    for (const [name, held] of this.#keys) {
      if (held.length > 0) continue;
      this.#keys.delete(name);
      this.#nameBytes -= name.length;
    }
    this.flush();
    if (this.#keys.size > 0) this.#wait();
  }

  #wait(): void {
    // A process that ends by itself lives on for what is held.
    this.#timer ??= setTimeout(() => this.#nextInterval(), INTERVAL_MS);
  }
}
