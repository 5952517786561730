/** Looks at keys that may differ: by the engine, at several moments, with rests between. */
import { setTimeout as sleep } from 'node:timers/promises';
import pMap from 'p-map';
import {
  type Compared,
  compareKeys,
  type Differing,
  type KeyResult,
  type LinkSides,
  ReconcileError,
  type ReconcileOptions,
} from '../engine/index.js';
import { RedisFailure } from '../redis/index.js';

export interface LooksOptions extends ReconcileOptions {
  readonly signal: AbortSignal;
  readonly settleMs: number;
  /** Behind a look at so many keys that took so long, so that the servers have time for others. */
  readonly rest: (tookMs: number, keys: number) => Promise<void>;
}

export interface Suspect {
  readonly key: Buffer;
  readonly found: Differing;
  readonly looks: number;
}

type Verdict = 'equal' | 'sure' | ReconcileError | Suspect;

/** A look is at so many moments, so that a write under way is not met at all of them. */
const MOMENTS = 4;
/**
 * More where few are left. A key that goes back and forth between two values is met as it was
 * before, and unlike the target, at up to a third of all moments.
 */
const [MOMENTS_OF_FEW, FEW] = [16, 200];
/** At random, so that no writer is met in step. */
const [LEAST_BETWEEN_MS, MOST_BETWEEN_MS] = [3, 15];
/** What one call of the engine takes. */
const KEYS_AT_ONCE = 500;
const LEAST_SETTLE_MS = 50;
/** Each is watched on a connection of its own. */
const LARGE_AT_ONCE = 4;

/** What keeps a sweep from going on: it is tried again from where it is. Others are of one key. */
const OF_A_SERVER: ReadonlySet<string> = new Set([
  'TargetUnavailable',
  'TargetReadOnly',
  'TargetLoading',
  'SourceUnavailable',
  'SourceNotMaster',
  'NoPermission',
]);

export class Looks {
  readonly #sides: Required<LinkSides>;
  readonly #options: LooksOptions;
  #inVain = 0;

  constructor(sides: Required<LinkSides>, options: LooksOptions) {
    this.#sides = sides;
    this.#options = options;
  }

  get settleMs(): number {
    return Math.max(this.#options.settleMs, LEAST_SETTLE_MS);
  }

  /**
   * One look, which is at several moments.
   * @returns `sure` for what differed at all of them while the source stayed as it was at the look
   *   before; a suspect for what is to be looked at once more
   */
  async verdicts(suspects: readonly Suspect[]): Promise<Verdict[]> {
    const verdicts = new Array<Verdict>(suspects.length);
    let open = [...suspects.keys()];
    const last = () => (open.length <= FEW ? MOMENTS_OF_FEW : MOMENTS);
    for (let moment = 1; moment <= last() && open.length > 0; moment++) {
      if (moment > 1) await sleep(betweenMoments(), undefined, { signal: this.#options.signal });
      // What was found may be of a moment before the states that it came with: the last word is
      // compared in full.
      const before = moment < last() ? open.map((index) => suspects[index]!.found) : [];
      const compared = await this.compare(
        open.map((index) => suspects[index]!.key),
        before,
      );
      const next: number[] = [];
      const large: number[] = [];
      for (const [position, index] of open.entries()) {
        const suspect = suspects[index]!;
        const [, now] = compared[position]!;
        if (now.outcome === 'equal') verdicts[index] = 'equal';
        else if (now.outcome === 'failed' && !isUnsettled(now)) verdicts[index] = now.error;
        else if (now.outcome === 'differs' && now.onSource === '' && suspect.found.onSource === '') {
          large.push(index);
        } else {
          // Once it has changed it is not sure, also where it is as it was at a later moment.
          const isSame = isAsSeen(suspect, now) && (moment === 1 || verdicts[index] === 'sure');
          verdicts[index] = isSame ? 'sure' : seenNow(suspect, now);
          next.push(index);
        }
      }
      const watching = async (index: number) => {
        verdicts[index] = await this.#ofLarge(suspects[index]!);
      };
      await pMap(large, watching, { concurrency: LARGE_AT_ONCE });
      open = next;
    }
    return verdicts;
  }

  /**
   * Of a large value it can't be said in short what it was, so it is watched: sure is what differs
   * `settle` after the source was written last.
   */
  async #ofLarge(suspect: Suspect): Promise<Verdict> {
    const again = { ...suspect, looks: suspect.looks + 1 };
    const watch = await this.#sides.source.watch(suspect.key);
    if (watch instanceof RedisFailure) return again;
    try {
      await sleep(this.settleMs, undefined, { signal: this.#options.signal });
      const [[, now] = [suspect.key, EQUAL]] = await this.compare([suspect.key]);
      if (now.outcome === 'equal') return 'equal';
      if (now.outcome === 'failed' && !isUnsettled(now)) return now.error;
      return now.outcome === 'differs' && (await watch.unchanged({ atMaster: true })) === true ? 'sure' : again;
    } finally {
      watch.close();
    }
  }

  /** @throws ReconcileError where it is not one key's fault */
  async compare(keys: readonly Buffer[], before: readonly Differing[] = []): Promise<(readonly [Buffer, Compared])[]> {
    const answers = new Array<Compared>(keys.length);
    for (let open = [...keys.keys()]; open.length > 0; ) {
      const some = open.slice(0, KEYS_AT_ONCE);
      const begunAt = performance.now();
      const compared = await compareKeys(
        this.#sides,
        some.map((index) => keys[index]!),
        this.#options,
        some.map((index) => before[index]),
      );
      // Not paid from the budget where the states of both sides are enough.
      await this.#options.rest(performance.now() - begunAt, some.length);
      // What is answered is paid for: only the others are asked for again.
      const deferred: number[] = [];
      let waitMs = 0;
      for (const [position, index] of some.entries()) {
        const one = compared[position]!;
        if (wasNotAsked(one)) {
          deferred.push(index);
          continue;
        }
        throwIfOfServer(one);
        if (one.outcome !== 'deferred') answers[index] = one;
        else {
          if (one.outage !== null) throw outOf(one.outage.shard);
          deferred.push(index);
          waitMs = Math.max(waitMs, one.retryAfterMs);
        }
      }
      this.#throwIfInVain(compared);
      open = [...deferred, ...open.slice(some.length)];
      if (deferred.length > 0) await sleep(waitMs, undefined, { signal: this.#options.signal });
    }
    return keys.map((key, index) => [key, answers[index]!] as const);
  }

  /** That is the mapping, and no key of it: days of such queries would hold the database. */
  #throwIfInVain(compared: readonly Compared[]): void {
    const failed = compared.flatMap((each) => (each.outcome === 'failed' ? [each] : []));
    const isInVain = failed.length > 1 && failed.length === compared.length && failed.every(isOfQuery);
    this.#inVain = isInVain ? this.#inVain + 1 : 0;
    if (this.#inVain >= MOST_IN_VAIN) throw failed[0]!.error;
  }
}

function betweenMoments(): number {
  return LEAST_BETWEEN_MS + Math.random() * (MOST_BETWEEN_MS - LEAST_BETWEEN_MS);
}

const EQUAL: Compared = { outcome: 'equal' };
/** As what no key can have been seen. */
export const UNKNOWN: Differing = { outcome: 'differs', difference: 'value', onSource: 'unknown', onTarget: 'unknown' };

/** @throws ReconcileError what keeps the whole sweep from going on */
export function throwIfOfServer(result: Compared | KeyResult): void {
  if (result.outcome === 'failed' && OF_A_SERVER.has(result.error.type)) throw result.error;
}

/**
 * Another key of the same call has taken all the time, and has failed of that: so there are fewer
 * with each call.
 */
function wasNotAsked(result: Compared): boolean {
  return result.outcome === 'failed' && (result.error.cause as Partial<RedisFailure> | undefined)?.code === 'NOTASKED';
}

/** So often one after the other no key of several had an answer to its query. */
const MOST_IN_VAIN = 3;

function isOfQuery(result: Compared & { readonly outcome: 'failed' }): boolean {
  return wasNotAsked(result) || result.error.type === 'QueryFailed';
}

function outOf(shard: string): ReconcileError {
  return new ReconcileError('TargetUnavailable', 'read', `${shard} does not answer; the sweep goes on when it does`);
}

function isAsSeen({ found }: Suspect, now: Compared): boolean {
  return now.outcome === 'differs' && now.onSource === found.onSource && now.difference === found.difference;
}

function seenNow({ key, found, looks }: Suspect, now: Compared): Suspect {
  const { difference } = found;
  return { key, found: now.outcome === 'differs' ? now : { ...UNKNOWN, difference }, looks: looks + 1 };
}

/** It kept changing through all rounds of the engine. */
export function isUnsettled(compared: Compared): boolean {
  return compared.outcome === 'failed' && compared.error.type === 'Contended';
}
