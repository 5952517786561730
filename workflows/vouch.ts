/**
 * The word of a person that the key may be deleted on the target. Who gives it looks at the source
 * now: it is for one attempt, within a minute.
 */
import type { RetryRequest } from './messages.js';

const VOUCHED_FOR_MS = 60_000;

export class Vouch {
  #until: number | null;

  /** @param until as carried by the run before */
  constructor(until: number | null) {
    this.#until = until;
  }

  /** In ms since the epoch, whether that is over or not; null: nobody vouches. */
  get until(): number | null {
    return this.#until;
  }

  /** @param request as it came in a message, so possibly malformed */
  take(request: unknown): void {
    const { allowDelete, before } = (request ?? {}) as RetryRequest;
    if (allowDelete !== true) return;
    const aMinute = Date.now() + VOUCHED_FOR_MS;
    const until = before === undefined ? aMinute : Math.min(aMinute, Date.parse(before));
    // NaN: what can't be read vouches for nothing.
    if (Date.now() < until) this.#until = until;
  }

  /** By the next attempt the source may have been emptied. */
  spend(): void {
    this.#until = null;
  }
}
