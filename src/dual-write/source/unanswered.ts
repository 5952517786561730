/** Writes that the source has not answered yet. */
import type { Write } from './write.js';

/** A write's place among them. */
export interface Awaited {
  readonly write: Write;
  /** In the order in which they were sent. */
  readonly number: number;
  /** When it was given to the source, in `performance.now()`. */
  readonly sinceMs: number;
  /** Where the list has it; -1: no longer. */
  index: number;
}

/**
 * A Set would do the same. But at tens of thousands of writes a second it leaves old tables behind,
 * each of which holds on to the next. They make the pauses of the garbage collector several times
 * as long.
 */
export class Unanswered {
  readonly #all: Awaited[] = [];
  #added = 0;
  #whenNone: (() => void)[] = [];

  add(write: Write): Awaited {
    const awaited = { write, number: this.#added, sinceMs: performance.now(), index: this.#all.length };
    this.#added += 1;
    this.#all.push(awaited);
    return awaited;
  }

  /**
   * Does nothing when it is removed already: a write that was given up may be answered after all.
   */
  remove(awaited: Awaited): void {
    if (awaited.index < 0) return;
    const last = this.#all.pop()!;
    if (last !== awaited) {
      this.#all[awaited.index] = last;
      last.index = awaited.index;
    }
    awaited.index = -1;
    if (this.#all.length > 0) return;
    for (const resolve of this.#whenNone) resolve();
    this.#whenNone = [];
  }

  /** In the order in which they were sent. */
  list(): Write[] {
    return this.#all.toSorted((a, b) => a.number - b.number).map(({ write }) => write);
  }

  /** Resolves when there are none. */
  none(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#all.length === 0) resolve();
      else this.#whenNone.push(resolve);
    });
  }
}
