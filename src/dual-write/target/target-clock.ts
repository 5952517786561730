/**
 * When the target did something, by the clock of this process, although it was read late. Its own
 * clock is compared with itself alone: what it showed at an answer that came at once.
 */

/** How long such an answer counts, so that a clock that is set does not mislead for longer. */
const TURN_MS = 10_000;

export class TargetClock {
  /** By how much this clock is ahead of the target's at most; of two spans of time. */
  #young = Number.POSITIVE_INFINITY;
  #old = Number.POSITIVE_INFINITY;
  #turnedAt = 0;

  /**
   * @param targetMs what the target's clock showed; NaN: it does not say
   * @param departedMs, nowMs between which that was, in `performance.now()`
   * @returns the latest time at which it can have been, in `performance.now()`
   */
  latest(targetMs: number, departedMs: number, nowMs: number): number {
    if (Number.isNaN(targetMs)) return nowMs;
    if (nowMs - this.#turnedAt > TURN_MS) {
      this.#old = nowMs - this.#turnedAt < 2 * TURN_MS ? this.#young : Number.POSITIVE_INFINITY;
      this.#young = Number.POSITIVE_INFINITY;
      this.#turnedAt = nowMs;
    }
    this.#young = Math.min(this.#young, nowMs - targetMs);
    const latestMs = targetMs + Math.min(this.#young, this.#old);
    if (latestMs >= departedMs) return latestMs;
    // Its clock was set back since.
    this.#old = Number.POSITIVE_INFINITY;
    this.#young = nowMs - targetMs;
    return nowMs;
  }
}
