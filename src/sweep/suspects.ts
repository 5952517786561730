/**
 * Keys that differ, until that is known for sure. A live write reaches the target a moment later
 * than the source, so a difference counts only when it is still there `settle` later and the source
 * has not changed since. Pages wait here in their order, so that a sweep that is gone on with
 * begins behind the last one that is through.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pMap from 'p-map';
import {
  type Compared,
  compareKeys,
  type Difference,
  type KeyResult,
  type LinkSides,
  ReconcileError,
  type ReconcileOptions,
} from '../engine/index.js';
import { RedisFailure } from '../redis/index.js';
import type { Finding } from './tally.js';

interface SuspectsOptions extends ReconcileOptions {
  readonly signal: AbortSignal;
  readonly settleMs: number;
  /** Makes keys equal that differ for sure. */
  readonly repair: ((found: readonly SureDifference[]) => Promise<Finding[]>) | null;
}

export interface SureDifference {
  readonly key: Buffer;
  readonly difference: Difference;
}

interface Suspect extends SureDifference {
  readonly seen: string;
  readonly looks: number;
}

/** A page that was gone through. */
interface Waiting<Page> {
  readonly page: Page;
  suspects: readonly Suspect[];
  readonly findings: Finding[];
  dueAt: number;
}

/** Looks behind the first, each `settle` after the one before. */
const MOST_LOOKS = 4;
/** A look is at so many moments, so that a write under way is not met at all of them. */
const MOMENTS = 4;
const BETWEEN_MOMENTS_MS = 15;
/** What one call of the engine takes. */
const KEYS_AT_ONCE = 500;
/** So many may wait: for more the next page has to. */
const MOST_WAITING = 20_000;
const LEAST_SETTLE_MS = 50;
/** Each is watched on a connection of its own. */
const LARGE_AT_ONCE = 4;
/** Between two looks, so that one is at the suspects of many pages. */
const BETWEEN_LOOKS_MS = 250;

/** What keeps a sweep from going on: it is tried again from where it is. Others are of one key. */
const OF_A_SERVER: ReadonlySet<string> = new Set([
  'TargetUnavailable',
  'TargetReadOnly',
  'TargetLoading',
  'SourceUnavailable',
  'SourceNotMaster',
  'NoPermission',
]);

export class Suspects<Page> {
  readonly #sides: Required<LinkSides>;
  readonly #options: SuspectsOptions;
  readonly #through: (page: Page, findings: readonly Finding[]) => void;
  #waiting: Waiting<Page>[] = [];
  #nextLookAt = 0;

  /** @param through told of each page that is through, in their order */
  constructor(
    sides: Required<LinkSides>,
    options: SuspectsOptions,
    through: (page: Page, findings: readonly Finding[]) => void,
  ) {
    this.#sides = sides;
    this.#options = options;
    this.#through = through;
  }

  /**
   * A page was gone through.
   * @param keys those of it that may differ
   * @throws ReconcileError where a side can't be asked; the signal's reason when it aborts
   */
  async add(page: Page, keys: readonly Buffer[]): Promise<void> {
    const waiting: Waiting<Page> = { page, suspects: [], findings: [], dueAt: this.#later() };
    this.#waiting.push(waiting);
    const unique = [...new Map(keys.map((key) => [key.toString('latin1'), key])).values()];
    const suspects: Suspect[] = [];
    for (const [key, compared] of await this.#compare(unique)) {
      if (compared.outcome === 'differs') suspects.push({ key, ...compared, looks: 0 });
      else if (isUnsettled(compared)) suspects.push({ key, difference: 'value', seen: UNKNOWN, looks: 0 });
      else waiting.findings.push(...ofFailure(key, compared));
    }
    waiting.suspects = suspects;
    waiting.dueAt = this.#later();
    await this.#lookAgain(MOST_WAITING);
  }

  /** Until every page is through. Throws as `add`. */
  async settle(): Promise<void> {
    await this.#lookAgain(0);
  }

  /** What is due; and further, until at most so many keys wait. */
  async #lookAgain(most: number): Promise<void> {
    for (;;) {
      this.#options.signal.throwIfAborted();
      const now = performance.now();
      const due = this.#waiting.filter(({ suspects, dueAt }) => suspects.length > 0 && dueAt <= now);
      if (due.length > 0 && this.#nextLookAt <= now) {
        await this.#lookAt(due);
        this.#nextLookAt = performance.now() + BETWEEN_LOOKS_MS;
      }
      while (this.#waiting[0]?.suspects.length === 0) {
        const { page, findings } = this.#waiting.shift()!;
        this.#through(page, findings);
      }
      const open = this.#waiting.filter(({ suspects }) => suspects.length > 0);
      const count = open.reduce((sum, { suspects }) => sum + suspects.length, 0);
      if (count <= most) return;
      const next = Math.max(this.#nextLookAt, Math.min(...open.map(({ dueAt }) => dueAt)));
      await sleep(Math.max(0, next - performance.now()), undefined, { signal: this.#options.signal });
    }
  }

  async #lookAt(due: readonly Waiting<Page>[]): Promise<void> {
    const asked = due.flatMap((waiting) => waiting.suspects.map((suspect) => ({ waiting, suspect })));
    for (const { waiting } of asked) waiting.suspects = [];
    const sure: (SureDifference & { waiting: Waiting<Page> })[] = [];
    const verdicts = await this.#verdicts(asked.map(({ suspect }) => suspect));
    for (const [index, verdict] of verdicts.entries()) {
      const { waiting, suspect } = asked[index]!;
      const { key } = suspect;
      if (verdict === 'equal') continue;
      if (verdict === 'sure') sure.push({ key, difference: suspect.difference, waiting });
      else if (verdict instanceof ReconcileError)
        waiting.findings.push(...ofFailure(key, { outcome: 'failed', error: verdict }));
      else if (suspect.looks + 1 < MOST_LOOKS) waiting.suspects = [...waiting.suspects, verdict];
      else waiting.findings.push({ key, difference: null, reason: null });
    }
    for (const waiting of due) waiting.dueAt = this.#later();
    const { repair } = this.#options;
    const findings: Finding[] = repair && sure.length > 0 ? await repair(sure) : sure;
    for (const [index, { key, difference, repaired, reason }] of findings.entries()) {
      const finding = { key, difference, ...(repaired && { repaired }), ...(reason !== undefined && { reason }) };
      sure[index]!.waiting.findings.push(finding);
    }
  }

  /**
   * One look, which is at several moments.
   * @returns `sure` for what differed at all of them while the source stayed as it was at the look
   *   before; a suspect for what is to be looked at once more
   */
  async #verdicts(suspects: readonly Suspect[]): Promise<('equal' | 'sure' | ReconcileError | Suspect)[]> {
    const verdicts = new Array<'equal' | 'sure' | ReconcileError | Suspect>(suspects.length);
    let open = [...suspects.keys()];
    for (let moment = 1; moment <= MOMENTS && open.length > 0; moment++) {
      if (moment > 1) await sleep(BETWEEN_MOMENTS_MS, undefined, { signal: this.#options.signal });
      const compared = await this.#compare(open.map((index) => suspects[index]!.key));
      const next: number[] = [];
      const large: number[] = [];
      for (const [position, index] of open.entries()) {
        const suspect = suspects[index]!;
        const [, now] = compared[position]!;
        if (now.outcome === 'equal') verdicts[index] = 'equal';
        else if (now.outcome === 'failed' && !isUnsettled(now)) verdicts[index] = now.error;
        else if (now.outcome === 'differs' && now.seen === '' && suspect.seen === '') {
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
  async #ofLarge(suspect: Suspect): Promise<'equal' | 'sure' | ReconcileError | Suspect> {
    const again = { ...suspect, looks: suspect.looks + 1 };
    const watch = await this.#sides.source.watch(suspect.key);
    if (watch instanceof RedisFailure) return again;
    try {
      await sleep(this.#settleMs, undefined, { signal: this.#options.signal });
      const [[, now] = [suspect.key, EQUAL]] = await this.#compare([suspect.key]);
      if (now.outcome === 'equal') return 'equal';
      if (now.outcome === 'failed' && !isUnsettled(now)) return now.error;
      return now.outcome === 'differs' && (await watch.unchanged({ atMaster: true })) === true ? 'sure' : again;
    } finally {
      watch.close();
    }
  }

  /** @throws ReconcileError where it is not one key's fault */
  async #compare(keys: readonly Buffer[]): Promise<(readonly [Buffer, Compared])[]> {
    const answers = new Array<Compared>(keys.length);
    for (let open = [...keys.keys()]; open.length > 0; ) {
      const some = open.slice(0, KEYS_AT_ONCE);
      const compared = await compareKeys(
        this.#sides,
        some.map((index) => keys[index]!),
        this.#options,
      );
      // What is answered is paid for: only the others are asked for again.
      const deferred: number[] = [];
      let waitMs = 0;
      for (const [position, index] of some.entries()) {
        const one = compared[position]!;
        throwIfOfServer(one);
        if (one.outcome !== 'deferred') answers[index] = one;
        else {
          if (one.outage !== null) throw outOf(one.outage.shard);
          deferred.push(index);
          waitMs = Math.max(waitMs, one.retryAfterMs);
        }
      }
      open = [...deferred, ...open.slice(some.length)];
      if (deferred.length > 0) await sleep(waitMs, undefined, { signal: this.#options.signal });
    }
    return keys.map((key, index) => [key, answers[index]!] as const);
  }

  get #settleMs(): number {
    return Math.max(this.#options.settleMs, LEAST_SETTLE_MS);
  }

  #later(): number {
    return performance.now() + this.#settleMs;
  }
}

const EQUAL: Compared = { outcome: 'equal' };
/** What no source can have been seen as. */
const UNKNOWN = 'unknown';

/** @throws ReconcileError what keeps the whole sweep from going on */
export function throwIfOfServer(result: Compared | KeyResult): void {
  if (result.outcome === 'failed' && OF_A_SERVER.has(result.error.type)) throw result.error;
}

export function outOf(shard: string): ReconcileError {
  return new ReconcileError('TargetUnavailable', 'read', `${shard} does not answer; the sweep goes on when it does`);
}

function isAsSeen({ difference, seen }: Suspect, now: Compared): boolean {
  return now.outcome === 'differs' && now.seen === seen && now.difference === difference;
}

function seenNow(suspect: Suspect, now: Compared): Suspect {
  const { difference, seen } = now.outcome === 'differs' ? now : { ...suspect, seen: UNKNOWN };
  return { key: suspect.key, difference, seen, looks: suspect.looks + 1 };
}

/** It kept changing through all rounds of the engine. */
function isUnsettled(compared: Compared): boolean {
  return compared.outcome === 'failed' && compared.error.type === 'Contended';
}

function ofFailure(key: Buffer, compared: Compared): Finding[] {
  if (compared.outcome !== 'failed') return [];
  const { type, message } = compared.error;
  return [{ key, difference: null, reason: `${type}: ${message}` }];
}
