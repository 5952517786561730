/** The keys of which the target lately missed a write, in bounded memory. */

/** As long as a repair of a healthy keymend takes, with a margin. */
const REMEMBERED_MS = 10_000;
const MAX_KEYS = 50_000;

/** Of each key, as latin1, the number of the newest write that failed. */
class Generation extends Map<string, number> {
  newest = 0;
}

/**
 * Why it matters: a repair copies the source's state. What is still on its way to the target is
 * part of that state, and then lands on top of the repair.
 *
 * A write behind the one that failed is then done twice. That is harmless for SADD, but one too
 * many for LPUSH. Where the target's reply shows it, the writer sees it. Where the reply does not
 * (BITFIELD with OVERFLOW SAT), only a second comparison helps, which a record of that write asks
 * for.
 *
 * A write before the one that failed, which waits for a slow target, takes back what the repair has
 * brought. So does even a SET.
 */
export class RecentFailures {
  // Two generations instead of a time for each key: a key is remembered for one to two spans.
  #young = new Generation();
  #old = new Generation();
  #turnedAt = 0;
  /**
   * The newest failure of a forgotten key. All writes up to it count as writes of a key that missed
   * one. Of these only those still matter that the target has not answered yet. They are boundedly
   * many, and it costs each of them a comparison.
   */
  #forgotten = 0;

  /** @param number the write's place in the order of the source's replies, 1 and up */
  add(keys: readonly Buffer[], number: number): void {
    this.#turn();
    // Full: the oldest are forgotten first.
    if (this.#young.size >= MAX_KEYS / 2) this.#nextGeneration();
    for (const key of keys) {
      const name = key.toString('latin1');
      this.#young.set(name, Math.max(number, this.#young.get(name) ?? 0));
    }
    this.#young.newest = Math.max(number, this.#young.newest);
  }

  /** Whether the answers below can be other than no, for any key. */
  mayConcern(number: number): boolean {
    return this.#young.size + this.#old.size > 0 || number <= this.#forgotten;
  }

  /** Whether one of the keys lately missed a write. */
  hasAny(keys: readonly Buffer[]): boolean {
    return this.#newestOf(keys) > 0;
  }

  /**
   * Whether one of the keys missed a write behind the one with this number, or in the same
   * transaction; however long ago.
   */
  hasAnyNewer(keys: readonly Buffer[], number: number): boolean {
    return number <= this.#newestOf(keys) || number <= this.#forgotten;
  }

  #newestOf(keys: readonly Buffer[]): number {
    this.#turn();
    let newest = 0;
    for (const key of keys) {
      const name = key.toString('latin1');
      newest = Math.max(newest, this.#young.get(name) ?? 0, this.#old.get(name) ?? 0);
    }
    return newest;
  }

  #turn(): void {
    const age = performance.now() - this.#turnedAt;
    if (age < REMEMBERED_MS) return;
    if (age >= 2 * REMEMBERED_MS) this.#nextGeneration();
    this.#nextGeneration();
  }

  #nextGeneration(): void {
    this.#forgotten = Math.max(this.#forgotten, this.#old.newest);
    this.#old = this.#young;
    this.#young = new Generation();
    this.#turnedAt = performance.now();
  }
}
