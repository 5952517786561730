/**
 * How much of a worker one link may hold, so that a link whose Redis hangs leaves the others what
 * they need. Nobody waits in line here: that would hold the worker's own slots. Who finds none free
 * is told when to come again, and its workflow waits durably.
 */

/** Attempts of one link under way in a worker. */
export const ATTEMPTS_AT_ONCE = 50;
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

const LONGEST_RETRY_MS = 30_000;
const LEAST_RETRY_MS = 100;

export class Slots {
  #taken = 0;
  /** How long a slot is held: the average lately, in ms. */
  #usualMs = LEAST_RETRY_MS;
  /** Up to when the slots are spoken for by those who were told to come again. */
  #promisedUntil = 0;

  constructor(readonly count: number) {}

  /**
   * Does the work in a slot.
   * @returns what it resolves with, or in how many ms to come again: each who asks is told a time
   *   of its own, as far apart as slots become free
   */
  async run<Result>(work: () => Promise<Result>): Promise<Result | { readonly retryAfterMs: number }> {
    if (this.#taken >= this.count) return { retryAfterMs: this.#promise() };
    this.#taken += 1;
    const begunAt = performance.now();
    try {
      return await work();
    } finally {
      this.#taken -= 1;
      this.#usualMs += (performance.now() - begunAt - this.#usualMs) / 8;
    }
  }

  #promise(): number {
    const now = performance.now();
    const turn = Math.max(now + LEAST_RETRY_MS, this.#promisedUntil) + this.#usualMs / this.count;
    if (turn - now <= LONGEST_RETRY_MS) this.#promisedUntil = turn;
    return Math.ceil(Math.min(turn - now, LONGEST_RETRY_MS) * (1 + 0.1 * Math.random()));
  }
}
