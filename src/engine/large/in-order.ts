/**
 * What the comparisons of strings, lists and streams have in common. Hashes and sets are compared
 * by member.
 */
import { type Cost, type GrowthOutcome, type KeyWatch, RedisFailure, type TemporaryKey } from '../../redis/index.js';
import type { LinkSides } from '../contract.js';
import { reconcileError, type Side, type Stage } from '../errors.js';
import { ChangedMeanwhile } from './changed-meanwhile.js';
import { pay } from './pace.js';

/** How many ranges are under way at once, so that neither server waits for the network. */
export const RANGES_IN_FLIGHT = 4;

export interface Comparison {
  /** Bytes of the value on the source. */
  readonly bytes: number;
  readonly equal: boolean;
  /**
   * Builds the source's value under a temporary key of the target.
   * @throws ReconcileError, ChangedMeanwhile, or the reason of an aborted signal
   */
  build(temporary: TemporaryKey): Promise<void>;
}

/** A key that is compared: both sides watched, the target first. */
export class WatchedPair {
  readonly #sides: LinkSides;
  readonly #key: Buffer;
  readonly #onStep: () => void;
  readonly #signal: AbortSignal | undefined;
  /** Of what the target's watch costs; operations also of some that are still to come. */
  #paid: Cost = { operations: 0, bytes: 0 };

  constructor(
    sides: LinkSides,
    key: Buffer,
    readonly target: KeyWatch,
    readonly source: KeyWatch,
    onStep: () => void,
    signal: AbortSignal | undefined,
  ) {
    this.#sides = sides;
    this.#key = key;
    this.#onStep = onStep;
    this.#signal = signal;
  }

  /**
   * What a side answered.
   * @throws ReconcileError for a failure
   */
  settled<Answer>(answer: Answer | RedisFailure, side: Side, stage: Stage): Answer {
    if (answer instanceof RedisFailure) throw reconcileError(answer, side, stage, this.#sides[side].place);
    return answer;
  }

  /** @throws ReconcileError, ChangedMeanwhile */
  grown(outcome: GrowthOutcome | RedisFailure): void {
    if (this.settled(outcome, 'target', 'write') === 'lost') throw new ChangedMeanwhile();
  }

  /**
   * Resolves when the target's budget has room for a step of so many operations, and pays for it:
   * for one that is much at once, and would be a burst if it was paid for afterwards. Throws as
   * `advance` does.
   */
  async afford(operations: number): Promise<void> {
    await this.#pay({ operations, bytes: 0 });
  }

  /**
   * One more step has ended. Resolves when the target's budget has room for another.
   * @throws the reason of an aborted signal, ReconcileError
   */
  async advance(): Promise<void> {
    this.#onStep();
    const { operations, bytes } = this.target.cost;
    const unpaid = Math.max(0, operations - this.#paid.operations);
    await this.#pay({ operations: unpaid, bytes: bytes - this.#paid.bytes });
  }

  async #pay({ operations, bytes }: Cost): Promise<void> {
    this.#paid = { operations: this.#paid.operations + operations, bytes: this.#paid.bytes + bytes };
    await pay(this.#sides, this.#key, this.#signal, { operations, bytes });
  }
}
