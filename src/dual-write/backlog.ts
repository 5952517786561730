/** Puts off what the application need not wait for, so that it stands in front of nobody's reply. */

/**
 * So long, in ms, what comes is gathered: what is done at once costs the application less than one after the other. Nothing is
 * late by it that is not late anyway. What comes after a pause does not wait.
 */
const GATHER_MS = 2;
/** So many at once; then the event loop has its turn, with replies and their callers. */
const SLICE = 64;

export class Backlog<Item> {
  readonly #handle: (item: Item) => void;
  readonly #items: Item[] = [];
  #handledAt = Number.NEGATIVE_INFINITY;
  #scheduled = false;

  /** @param handle is given each item, in their order */
  constructor(handle: (item: Item) => void) {
    this.#handle = handle;
  }

  /** How many items are not handled yet. */
  get size(): number {
    return this.#items.length;
  }

  add(item: Item): void {
    this.#items.push(item);
    if (this.#scheduled) return;
    this.#scheduled = true;
    const waitMs = this.#handledAt + GATHER_MS - performance.now();
    if (waitMs > 0) setTimeout(this.#handleSlice, waitMs);
    else setImmediate(this.#handleSlice);
  }

  /** Handles all of it now. */
  drain(): void {
    this.#handleFirst(this.size);
  }

  readonly #handleSlice = (): void => {
    try {
      // A part of what is there, or it would grow without bound while each turn brings more than a slice.
      this.#handleFirst(Math.max(SLICE, this.size >> 2));
    } finally {
      this.#handledAt = performance.now();
      this.#scheduled = this.size > 0;
      if (this.#scheduled) setImmediate(this.#handleSlice);
    }
  };

  #handleFirst(count: number): void {
    let handled = 0;
    try {
      while (handled < count && handled < this.#items.length) this.#handle(this.#items[handled++]!);
    } finally {
      this.#items.splice(0, handled);
    }
  }
}
