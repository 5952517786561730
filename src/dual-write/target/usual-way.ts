/** How long the way to a server usually takes, by what has gone there and come back. */

/** The way grows by this much at an answer at most: a slow one tells little of the network. */
const LONGER_BY = 1.05;

export class UsualWay {
  #ms = 0;

  /** One way, in ms; 0: nothing has come back yet. */
  get ms(): number {
    return this.#ms;
  }

  /** By how much a way there and back was longer than usual, in ms. */
  beyond(thereAndBackMs: number): number {
    return Math.max(0, thereAndBackMs - 2 * this.#ms);
  }

  took(thereAndBackMs: number): void {
    const wayMs = thereAndBackMs / 2;
    this.#ms = this.#ms === 0 ? wayMs : Math.min(wayMs, this.#ms * LONGER_BY);
  }
}
