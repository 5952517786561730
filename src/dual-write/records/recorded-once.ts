/** What needs one record and no more, by name, in bounded memory. */

const MOST_NAMES = 10_000;

export class RecordedOnce {
  // Two generations: full, the oldest are forgotten, which costs a record each.
  #young = new Set<string>();
  #old = new Set<string>();

  /** @returns whether it has its record already; the next time it has */
  hasHad(name: string): boolean {
    if (this.#young.has(name)) return true;
    const had = this.#old.has(name);
    if (this.#young.size >= MOST_NAMES / 2) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    this.#young.add(name);
    return had;
  }

  forget(): void {
    this.#young = new Set();
    this.#old = new Set();
  }
}
