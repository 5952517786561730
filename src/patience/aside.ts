/**
 * Batches that do not get on. Where one key is waited for, all that is behind it would wait, too.
 * Such a batch is put aside: what is behind it goes on meanwhile.
 */
import { within } from './within.js';

interface AsideOptions {
  /** How long a batch may get no record accepted before it is put aside, in ms. */
  readonly getsOnWithinMs: number;
  /** Each is held in memory, and asks Temporal for as much at once as a batch may. */
  readonly most: number;
  /** Nothing is put aside then: who stops waits for what is not aside. */
  readonly isStopping: () => boolean;
}

export class Aside {
  readonly #options: AsideOptions;
  readonly #batches = new Set<Promise<void>>();

  constructor(options: AsideOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the batch is handled, or put aside.
   * @param accepted how many of its records are, so far
   * @param put called when it is put aside, before this resolves; resolves when all is done that is
   *   to be done once it is handled. Never rejects
   * @throws what `handled` rejects with, unless it is aside by then
   */
  async handledOrAside(handled: Promise<void>, accepted: () => number, put: () => Promise<void>): Promise<void> {
    const { getsOnWithinMs, most, isStopping } = this.#options;
    const ended = handled.then(() => 'ended' as const);
    // Nobody may be waiting for it any more when it rejects.
    ended.catch(() => {});
    for (;;) {
      const before = accepted();
      if ((await within(getsOnWithinMs, ended)) === 'ended') return;
      if (accepted() > before || isStopping()) continue;
      if (this.#batches.size < most) break;
      await Promise.race([ended, ...this.#batches]);
    }
    const batch = put().finally(() => this.#batches.delete(batch));
    this.#batches.add(batch);
  }

  /** Resolves when those that are aside now have ended; nothing makes them end here. */
  async ended(): Promise<void> {
    await Promise.all(this.#batches);
  }
}
