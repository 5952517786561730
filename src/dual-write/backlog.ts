/**
 * Puts off what the application need not wait for, so that it stands in front of nobody's reply.
 */

/**
 * What comes within this time after the last handling, in ms, waits. Many items handled together
 * cost the application less than one by one.
 *
 * The first item that comes later has all of them handled, behind the turn of the event loop in
 * which it came. Its caller has its reply by then and is not kept waiting.
 */
const GATHER_MS = 2;
/**
 * If no such item comes, they are handled after this time. The mirror is later than the source
 * anyway.
 */
const LONGEST_MS = 4;
/**
 * So many items are handled in a row. Then the event loop has its turn, with replies and their
 * callers.
 */
const SLICE = 64;

export class Backlog<Item> {
  readonly #handle: (item: Item) => void;
  readonly #items: Item[] = [];
  #handledAt = Number.NEGATIVE_INFINITY;
  #isNext = false;
  #timer: NodeJS.Timeout | undefined;

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
    if (this.#isNext) return;
    if (performance.now() - this.#handledAt >= GATHER_MS) this.#handleNext();
    else this.#timer ??= setTimeout(() => this.#handleNext(), LONGEST_MS);
  }

  /** Handles all of it now. */
  drain(): void {
    this.#handleFirst(this.size);
  }

  #handleNext(): void {
    this.#isNext = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    setImmediate(this.#handleSlice);
  }

  readonly #handleSlice = (): void => {
    this.#isNext = false;
    try {
      // At least a part of what is there: if each turn brought more than a slice, it would grow
      // without bound.
      this.#handleFirst(Math.max(SLICE, this.size >> 2));
    } finally {
      this.#handledAt = performance.now();
      if (this.size > 0) this.#handleNext();
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
