/**
 * Batches that do not get on. kafkajs asks a broker for more only when all that it gave before is
 * handled, so one key that is waited for would hold up every partition of that broker. Such a batch
 * is put aside: its partition rests, the others go on, and when it is handled the partition goes on
 * behind what was accepted of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EachBatchPayload } from 'kafkajs';
import { within } from '../patience/within.js';

/** How long a batch may get no record accepted before it is put aside. */
const GETS_ON_WITHIN_MS = 1_000;
/** Each is held in memory, and asks Temporal for as much at once as a batch may. */
const MOST_ASIDE = 4;
/** A batch that failed comes again after this. */
const FAILED_REST_MS = 1_000;

export class Aside {
  readonly #batches = new Set<Promise<void>>();
  readonly #isStopping: () => boolean;

  /** @param isStopping nothing is put aside then, nor goes on */
  constructor(isStopping: () => boolean) {
    this.#isStopping = isStopping;
  }

  /**
   * Resolves when the batch is handled, or put aside.
   * @param accepted how many of its records are, so far
   * @throws what `handled` rejects with, unless it is aside by then
   */
  async handledOrAside(payload: EachBatchPayload, handled: Promise<void>, accepted: () => number): Promise<void> {
    const ended = handled.then(() => 'ended' as const);
    // Nobody may be waiting for it any more when it rejects.
    ended.catch(() => {});
    for (;;) {
      const before = accepted();
      if ((await within(GETS_ON_WITHIN_MS, ended)) === 'ended') return;
      // Who stops the intake waits for what is not aside.
      if (accepted() > before || this.#isStopping()) continue;
      if (this.#batches.size < MOST_ASIDE) break;
      await Promise.race([ended, ...this.#batches]);
    }
    // Before this returns: the next fetch must not bring the same records.
    const goOn = payload.pause();
    const batch = handled
      // It has been told of, and comes again.
      .catch(() => sleep(FAILED_REST_MS))
      .then(() => payload.commitOffsetsIfNecessary(payload.uncommittedOffsets()))
      // After a rebalance: it comes again, here or elsewhere.
      .catch(() => {})
      .finally(() => {
        this.#batches.delete(batch);
        if (!this.#isStopping()) goOn();
      });
    this.#batches.add(batch);
  }

  /** Resolves when those that are aside now have ended; nothing makes them end here. */
  async ended(): Promise<void> {
    await Promise.all(this.#batches);
  }
}
