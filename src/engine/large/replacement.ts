/**
 * One round of the protocol for a string, list or stream too large for one call, or for the absence of one:
 *
 * 1. watch the target, 2. watch the source, 3. compare ranges by digest, 4. build the source's value under a temporary key of the
 * target, 5. see that the source is still what was read, 6. put the temporary key in place of the target's, unless that was written,
 * 7. look at the source once more.
 *
 * Why it is right: the fence of a value that no single call can digest is WATCH. All that was read of a side until an EXEC of
 * its connection succeeds belongs to one moment; the two watches overlap, the target's beginning first, so what is written is never
 * older than what was compared. A lost connection loses its watch, and then nothing is written. Step 7 is a second watch, begun
 * before step 5: a value of the source that went and came back in the meantime shows there. `round.ts` says why that matters.
 */
import {
  type KeyWatch,
  NO_TYPE,
  RedisFailure,
  type TemporaryKey,
  type WatchedChange,
  type WatchedOutcome,
} from '../../redis/index.js';
import type { Link, ReconcileOptions, Repaired } from '../contract.js';
import { refuseDeletes } from '../delete-guard.js';
import { ReconcileError, reconcileError, type Side } from '../errors.js';
import { toleranceFor, tolerates } from '../expiry-tolerance.js';
import type { RoundResult } from '../round.js';
import { ChangedMeanwhile, type Comparison, WatchedPair } from './comparison.js';
import { compareLists } from './lists.js';
import { compareStreams } from './streams.js';
import { compareStrings } from './strings.js';

export interface ReplaceOptions extends ReconcileOptions {
  /** A person has confirmed that the key may be deleted: the guard is not asked. */
  readonly allowDelete?: boolean;
}

const COMPARISONS: Readonly<Record<string, (pair: WatchedPair) => Promise<Comparison>>> = {
  string: compareStrings,
  list: compareLists,
  stream: compareStreams,
};

/**
 * Makes a key on the target equal to the source, where it is a string, list or stream, or absent; on the target it may be anything.
 * Idempotent. No single command takes either server long, and only a few ranges are in memory at once.
 * @param onStep called after each step of comparing and building
 * @returns `again` also when the key has become another type on the source
 * @throws the signal's reason when it aborts; what is left then is at most a temporary key that expires
 */
export async function replaceLargeKey(
  sides: Link,
  key: Buffer,
  options: ReplaceOptions,
  onStep: () => void,
): Promise<RoundResult> {
  const replacement = new Replacement(sides, key, options, onStep);
  try {
    return await replacement.run();
  } catch (error) {
    if (error instanceof ChangedMeanwhile) return { outcome: 'again', repaired: null };
    if (error instanceof ReconcileError) return { outcome: 'failed', error };
    throw error;
  } finally {
    await replacement.end();
  }
}

class Replacement {
  readonly #watches: KeyWatch[] = [];
  #temporary: TemporaryKey | null = null;

  constructor(
    private readonly sides: Link,
    private readonly key: Buffer,
    private readonly options: ReplaceOptions,
    private readonly onStep: () => void,
  ) {}

  async run(): Promise<RoundResult> {
    const target = await this.#watch('target');
    const source = await this.#watch('source');
    const pair = new WatchedPair(this.sides, this.key, target, source, this.onStep, this.options.signal);
    if (source.state.type === NO_TYPE) return this.#remove(pair);
    const comparison = await COMPARISONS[source.state.type]?.(pair);
    if (comparison === undefined) throw new ChangedMeanwhile();

    const { expiry } = source.state;
    if (!comparison.equal) {
      this.#temporary = target.temporaryKey();
      await comparison.build(this.#temporary);
      return this.#write(pair, { action: 'replace', temporary: this.#temporary, expiry }, comparison.bytes);
    }
    const expiries = { target: target.state.expiry, source: expiry };
    const tolerance = await toleranceFor(this.sides.memory, this.key, this.options.expiryToleranceMs, [expiries]);
    if (tolerates(tolerance, expiries.target, expiries.source)) return this.#confirmEqual(pair);
    return this.#write(pair, { action: 'expiry', expiry }, 0);
  }

  async #remove(pair: WatchedPair): Promise<RoundResult> {
    if (pair.target.state.type === NO_TYPE) return this.#confirmEqual(pair);
    const [error] = this.options.allowDelete
      ? [null]
      : await refuseDeletes(this.sides, [this.key], this.options.deleteGuard);
    if (error) return { outcome: 'failed', error };
    return this.#write(pair, { action: 'delete' }, 0);
  }

  /** Both sides were what was read at the same time, for the watch of each began before the other's ended. */
  async #confirmEqual(pair: WatchedPair): Promise<RoundResult> {
    await this.#mustBeUnchanged(pair, 'source');
    await this.#mustBeUnchanged(pair, 'target');
    return { outcome: 'equal' };
  }

  async #write(pair: WatchedPair, change: WatchedChange, bytes: number): Promise<RoundResult> {
    this.options.signal?.throwIfAborted();
    const secondLook = await this.#watch('source');
    await this.#mustBeUnchanged(pair, 'source');
    const outcome = pair.settled(await pair.target.write(change), 'target', 'write');
    if (outcome === 'changed') throw new ChangedMeanwhile();
    const repaired = describeWrite(pair, outcome, bytes);
    const holds = pair.settled(await secondLook.unchanged({ atMaster: true }), 'source', 'verify');
    if (!holds) return { outcome: 'again', repaired };
    return repaired ?? { outcome: 'equal' };
  }

  /** @throws ChangedMeanwhile */
  async #mustBeUnchanged(pair: WatchedPair, side: Side): Promise<void> {
    const answer = await pair[side].unchanged({ atMaster: side === 'source' });
    if (!pair.settled(answer, side, 'compare')) throw new ChangedMeanwhile();
  }

  async #watch(side: Side): Promise<KeyWatch> {
    const watch = await this.sides[side].watch(this.key);
    if (watch instanceof RedisFailure) throw reconcileError(watch, side, 'read', this.sides[side].place);
    this.#watches.push(watch);
    return watch;
  }

  async end(): Promise<void> {
    // In place of the key it no longer has that name.
    await this.#temporary?.discard();
    for (const watch of this.#watches) watch.close();
  }
}

/** @returns null when nothing was written */
function describeWrite(
  { source, target }: WatchedPair,
  outcome: Exclude<WatchedOutcome, 'changed'>,
  bytes: number,
): Repaired | null {
  switch (outcome) {
    case 'replaced':
      return { outcome: 'repaired', action: 'restored', type: source.state.type, bytes };
    case 'expiry':
      return { outcome: 'repaired', action: 'expiry', type: source.state.type, bytes: 0 };
    case 'deleted':
    case 'expired':
      // It expired on the way. Where there was nothing before, nothing has changed.
      if (target.state.type === NO_TYPE) return null;
      return { outcome: 'repaired', action: 'deleted', type: target.state.type, bytes: 0 };
  }
}
