/** Pages whose keys are being compared, in their order: where that is far away, several at once. */
import type { Passed } from './passed.js';

/**
 * For each ms of the way, so many keys at once, and no more than that in all: they are in memory,
 * and are read again behind a crash. So 80,000 keys a second are reached up to 100 ms.
 */
const [KEYS_PER_MS, MOST_KEYS] = [80, 8_000];

interface Page<Answer> {
  readonly passed: Passed;
  readonly answer: Promise<Answer>;
  isThere: boolean;
}

export class Ahead<Answer> {
  #pages: Page<Answer>[] = [];

  add(passed: Passed, answer: Promise<Answer>): void {
    const page = { passed, answer, isThere: false };
    const isThere = () => {
      page.isThere = true;
    };
    // A failure is thrown when it is its turn.
    answer.then(isThere, isThere);
    this.#pages.push(page);
  }

  /**
   * The first of them, if it is compared, or has to be before there may be another.
   * @param wayMs as of `Way`; 0: each has to be
   * @throws what the comparison has thrown
   */
  async next(wayMs: number): Promise<readonly [Passed, Answer] | null> {
    const [first] = this.#pages;
    if (first === undefined) return null;
    const keys = this.#pages.reduce((sum, { passed }) => sum + passed.passed, 0);
    const mayWait = wayMs > 0 && keys <= Math.min(MOST_KEYS, KEYS_PER_MS * wayMs);
    if (mayWait && !first.isThere) return null;
    this.#pages.shift();
    return [first.passed, await first.answer];
  }
}
