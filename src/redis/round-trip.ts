/**
 * How long an answer of a server usually takes, seen from here. RFC 6298's estimate, a smoothed mean plus a multiple of a
 * smoothed deviation, except that it follows a much shorter time at once: the first one includes connecting, and any one may
 * have met a standstill.
 */
export class RoundTrip {
  #mean: number | null = null;
  #deviation = 0;

  /** In ms; 0 as long as nothing was observed. */
  get usualMs(): number {
    return (this.#mean ?? 0) + 2 * this.#deviation;
  }

  observe(ms: number): void {
    if (this.#mean === null || ms < this.#mean / 2) {
      this.#mean = ms;
      this.#deviation = 0;
      return;
    }
    this.#deviation += (Math.abs(ms - this.#mean) - this.#deviation) / 4;
    this.#mean += (ms - this.#mean) / 8;
  }
}
