/**
 * How much of a worker one link may hold, so that a link whose Redis hangs leaves the others what
 * they need. Who finds no slot free waits in a line, which is short in number and in time, since
 * whoever stands in it holds a slot of the worker itself; or is told when to come again, and its
 * workflow waits durably. That wait costs as much as healing a key.
 */

/** Attempts of one link under way in a worker. */
export const ATTEMPTS_AT_ONCE = 50;
/** Attempts in a worker, of all links together, that wait for one of those of their link to end. */
export const ATTEMPTS_IN_LINE = 50;
/**
 * Large keys of one link under way in a worker: each has three to four connections, and a value
 * that is replaced needs as much memory again on the target.
 */
export const LARGE_KEYS_AT_ONCE = 4;

/**
 * Attempts in a worker, of all links together, that wait to compare again what they have written.
 * They hold no slot of their link meanwhile, but one workflow task each: twice the keys that a
 * worker's process can heal in a second. Many more would let a worker that comes behind take so
 * many tasks at once that it has none of them done within their 10 s.
 */
export const VERIFYING_AT_ONCE = 100;

/**
 * Dead letters of one link that a worker publishes at once. While Kafka, or the Redis that keeps
 * them, is away each takes many seconds to fail, and nothing may wait behind that: no message to
 * the webhook, no repair of another link.
 */
export const LETTERS_AT_ONCE = 10;
/** Dead letters in a worker, of all links together, that wait for one of those: for a burst. */
export const LETTERS_IN_LINE = 50;

const LONGEST_RETRY_MS = 30_000;
const LEAST_RETRY_MS = 100;
/** As long as for the budget. */
const LONGEST_IN_LINE_MS = 250;

/** Where one waits for a slot. Several may share the room in it. */
export interface Line {
  room: number;
  /** How long one waits at most. Default: 250. */
  readonly longestMs?: number;
}

export class Slots {
  #taken = 0;
  /** How long a slot is held: the average lately, in ms. */
  #usualMs = LEAST_RETRY_MS;
  /** Up to when the slots are spoken for by those who were told to come again. */
  #promisedUntil = 0;

  /** Those that wait, in order. */
  readonly #waiting: (() => void)[] = [];

  /** @param line whoever finds no room in it is told at once when to come again */
  constructor(
    readonly count: number,
    readonly line: Line = { room: 0 },
  ) {}

  /**
   * Does the work in a slot, now or soon.
   * @returns what it resolves with, or in how many ms to come again: each who asks is told a time
   *   of its own, as far apart as slots become free
   */
  async run<Result>(work: () => Promise<Result>): Promise<Result | { readonly retryAfterMs: number }> {
    if (this.#taken < this.count) this.#taken += 1;
    else if (!(await this.#handedOver())) return { retryAfterMs: this.#promise() };
    const begunAt = performance.now();
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // Handed over, never free in between: who comes now can't be served before those in line.
      if (next === undefined) this.#taken -= 1;
      else next();
      this.#usualMs += (performance.now() - begunAt - this.#usualMs) / 8;
    }
  }

  /** @returns whether a slot was handed over in time; at once, when that is not to be expected */
  #handedOver(): Promise<boolean> {
    const { longestMs = LONGEST_IN_LINE_MS } = this.line;
    const expectedMs = ((this.#waiting.length + 1) * this.#usualMs) / this.count;
    if (this.line.room === 0 || expectedMs > longestMs) return Promise.resolve(false);
    this.line.room -= 1;
    return new Promise((resolve) => {
      const leave = (isServed: boolean) => {
        clearTimeout(tooLong);
        this.line.room += 1;
        resolve(isServed);
      };
      const take = () => leave(true);
      const tooLong = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(take), 1);
        leave(false);
      }, longestMs);
      this.#waiting.push(take);
    });
  }

  #promise(): number {
    const now = performance.now();
    const turn = Math.max(now + LEAST_RETRY_MS, this.#promisedUntil) + this.#usualMs / this.count;
    if (turn - now <= LONGEST_RETRY_MS) this.#promisedUntil = turn;
    return Math.ceil(Math.min(turn - now, LONGEST_RETRY_MS) * (1 + 0.1 * Math.random()));
  }
}
