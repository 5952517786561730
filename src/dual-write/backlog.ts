/** Puts off what the application need not wait for, so that it stands in front of nobody's reply. */

/**
 * So long, in ms, what comes is gathered: done together it costs the application less than one by one. What comes after that
 * time, or after a pause, takes it along: right after a reply, when its caller is not kept waiting.
 */
const GATHER_MS = 2;
/** If nothing comes, so long. The mirror is later than the source anyway. */
const LONGEST_MS = 4;
/** So many at once; then the event loop has its turn, with replies and their callers. */
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
      // A part of what is there, or it would grow without bound while each turn brings more than a slice.
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
