/**
 * The way to the servers of a side and back: that is no work of theirs, and no reason to rest. It
 * is told from questions that are hardly any work, as a page can be much.
 */
import { type Keyspace, RedisFailure } from '../redis/index.js';

/** A shorter one is not told from the work itself. */
const NEAR_MS = 2;
/** An answer may take so many times the shortest way before it is the server that was slow. */
const VARIES = 2;
/** A server that is busy answers one of so many at once, and is not taken for one far away… */
const ASKED_FIRST = 3;
/** …for long: it is asked again so often. */
const AGAIN_MS = 1_000;

export class Way {
  readonly #side: Pick<Keyspace, 'absentKeys'> | null;
  #shortestMs = Number.POSITIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;
  /** How long the last answer took. */
  lastMs = 0;

  /** @param side null: there is none to go to */
  constructor(side: Pick<Keyspace, 'absentKeys'> | null) {
    this.#side = side;
  }

  /** The shortest, in ms; 0: it is near, or nobody knows yet. */
  get ms(): number {
    return this.#shortestMs > NEAR_MS && this.#shortestMs < Number.POSITIVE_INFINITY ? this.#shortestMs : 0;
  }

  get isFar(): boolean {
    return this.ms > 0;
  }

  /** Of so many ms those that were not spent on the way. */
  beyond(tookMs: number): number {
    return Math.max(0, tookMs - VARIES * this.ms);
  }

  /**
   * Of the last answer, what was beyond the shortest way. For one that is waited for: the way is
   * part of the time that passes, so there is no reason to rest before it takes a third more.
   */
  get lastBeyondMs(): number {
    return Math.max(0, this.lastMs - this.ms);
  }

  async timed<Answer>(answering: Promise<Answer>): Promise<Answer> {
    const begunAt = performance.now();
    const answer = await answering;
    this.lastMs = performance.now() - begunAt;
    return answer;
  }

  /** Resolves when the way is known, the first time. @param key any of the server */
  async measure(key: Buffer): Promise<void> {
    const isFirst = this.#shortestMs === Number.POSITIVE_INFINITY;
    if (!isFirst && (!this.isFar || performance.now() - this.#askedAt < AGAIN_MS)) return;
    this.#askedAt = performance.now();
    const asking = this.#ask(key, isFirst ? ASKED_FIRST : 1);
    if (isFirst) await asking;
  }

  async #ask(key: Buffer, times: number): Promise<void> {
    for (let time = 0; time < times && this.#side !== null; time++) {
      const begunAt = performance.now();
      // What fails says nothing of the way, and whoever asks for a page hears of it.
      if ((await this.#side.absentKeys([key])) instanceof RedisFailure) return;
      this.#shortestMs = Math.min(this.#shortestMs, performance.now() - begunAt);
    }
  }
}
