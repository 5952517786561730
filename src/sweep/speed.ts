/** How long a sweep will take, by how fast it was lately: its parts are not equally fast. */

/** So far back. */
const WINDOW_MS = 60_000;
/** Between two moments that are kept. */
const APART_MS = 1_000;

interface Moment {
  readonly percent: number;
  readonly atMs: number;
}

export class Speed {
  /** The first one is about a window ago. */
  readonly #moments: Moment[];

  constructor(percent: number, atMs: number) {
    this.#moments = [{ percent, atMs }];
  }

  /** @returns null: not known yet */
  secondsUntilEnd(percent: number, atMs: number): number | null {
    const moments = this.#moments;
    if (atMs - moments.at(-1)!.atMs >= APART_MS) moments.push({ percent, atMs });
    while (moments.length > 1 && atMs - moments[1]!.atMs >= WINDOW_MS) moments.shift();
    const from = moments[0]!;
    if (percent <= from.percent) return null;
    return Math.round(((100 - percent) * (atMs - from.atMs)) / (percent - from.percent) / 1_000);
  }
}
