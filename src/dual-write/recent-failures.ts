/** The keys of which the target lately missed a write, in bounded memory. */

/** As long as a repair of a healthy keymend takes, with a margin. */
const REMEMBERED_MS = 10_000;
const MAX_KEYS = 50_000;

/**
 * Why it matters: a repair copies the source's state. If at that moment a further write of the key is on its way to the target,
 * the repair brings its effect already, and then it lands: harmless for SADD, one too many for LPUSH. Where the target's reply
 * shows that, the writer sees it. Where it does not (BITFIELD with OVERFLOW SAT) only a second comparison helps, which a record
 * of that write asks for.
 */
export class RecentFailures {
  // Two generations instead of a time for each key: a key is remembered for one to two spans.
  #young = new Set<string>();
  #old = new Set<string>();
  #turnedAt = 0;

  add(keys: readonly Buffer[]): void {
    this.#turn();
    // Full: the oldest are forgotten first.
    if (this.#young.size >= MAX_KEYS / 2) this.#nextGeneration();
    for (const key of keys) this.#young.add(key.toString('latin1'));
  }

  get isEmpty(): boolean {
    return this.#young.size + this.#old.size === 0;
  }

  hasAny(keys: readonly Buffer[]): boolean {
    if (this.isEmpty) return false;
    this.#turn();
    return keys.some((key) => this.#young.has(key.toString('latin1')) || this.#old.has(key.toString('latin1')));
  }

  #turn(): void {
    const age = performance.now() - this.#turnedAt;
    if (age < REMEMBERED_MS) return;
    if (age >= 2 * REMEMBERED_MS) this.#young = new Set();
    this.#nextGeneration();
  }

  #nextGeneration(): void {
    this.#old = this.#young;
    this.#young = new Set();
    this.#turnedAt = performance.now();
  }
}
