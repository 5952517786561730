/**
 * Keys that differ, until that is known for sure. A live write reaches the target a moment later
 * than the source, so a difference counts only when it is still there `settle` later and the source
 * has not changed since. Pages wait here in their order, so that a sweep that is gone on with
 * begins behind the last one that is through.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BATCH_KEYS } from '../../workflows/batch-messages.js';
import { type Compared, type Difference, type LinkSides, ReconcileError } from '../engine/index.js';
import { isUnsettled, Looks, type LooksOptions, type Suspect, UNKNOWN } from './looks.js';
import { followedBy, type Passed } from './passed.js';
import type { Finding } from './tally.js';

interface SuspectsOptions extends LooksOptions {
  /** Of the others it was told already. */
  readonly counts: (difference: Difference) => boolean;
  /** Takes keys that differ for sure, many together. null: they are only told of. */
  readonly handOver: ((found: readonly SureDifference[]) => Promise<Finding[]>) | null;
}

export interface SureDifference {
  readonly key: Buffer;
  readonly difference: Difference;
  /** When it was sure, in ms since the epoch. */
  readonly foundAtMs: number;
}

/** What of a page may differ, and what could not be compared. */
interface FirstLook {
  readonly suspects: readonly Suspect[];
  readonly findings: readonly Finding[];
}

/** A page that was gone through, with those behind it that have nothing to wait for. */
interface Waiting {
  page: Passed;
  suspects: readonly Suspect[];
  /** Of its keys: they are not handed over yet. */
  sure: number;
  readonly findings: Finding[];
  dueAt: number;
}

/** Looks behind the first, each `settle` after the one before. */
const MOST_LOOKS = 4;
/** So many may wait: for more the next page has to. */
const MOST_WAITING = 20_000;
/** Keys that differ for sure are gathered for so long, and until they fill a batch. */
const GATHERED_MS = 3_000;
/** Between two looks, so that one is at the suspects of many pages. */
const BETWEEN_LOOKS_MS = 250;

export class Suspects {
  readonly #looks: Looks;
  readonly #options: SuspectsOptions;
  readonly #through: (page: Passed, findings: readonly Finding[]) => void;
  #waiting: Waiting[] = [];
  #nextLookAt = 0;
  #sure: (SureDifference & { readonly waiting: Waiting })[] = [];
  #handOverAt = Number.POSITIVE_INFINITY;

  /** @param through told of pages that are through, in their order */
  constructor(
    sides: Required<LinkSides>,
    options: SuspectsOptions,
    through: (page: Passed, findings: readonly Finding[]) => void,
  ) {
    this.#looks = new Looks(sides, options);
    this.#options = options;
    this.#through = through;
  }

  /**
   * The first look at keys of a page, before it is added: those of several pages may be under way.
   * @throws as `Looks.compare`
   */
  async look(keys: readonly Buffer[]): Promise<FirstLook> {
    const unique = [...new Map(keys.map((key) => [key.toString('latin1'), key])).values()];
    const suspects: Suspect[] = [];
    const findings: Finding[] = [];
    for (const [key, compared] of await this.#looks.compare(unique)) {
      if (compared.outcome === 'differs') {
        if (this.#options.counts(compared.difference)) suspects.push({ key, found: compared, looks: 0 });
      } else if (isUnsettled(compared)) suspects.push({ key, found: UNKNOWN, looks: 0 });
      else findings.push(...ofFailure(key, compared));
    }
    return { suspects, findings };
  }

  /**
   * A page was gone through.
   * @throws ReconcileError where a side can't be asked; the signal's reason when it aborts
   */
  async add(page: Passed, { suspects, findings }: FirstLook): Promise<void> {
    const before = this.#waiting.at(-1);
    if (before === undefined || suspects.length > 0)
      this.#waiting.push({ page, suspects, sure: 0, findings: [...findings], dueAt: this.#later() });
    else {
      // It is through when that one is. So there are never more of them than suspects.
      before.page = followedBy(before.page, page);
      before.findings.push(...findings);
    }
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
        // At servers that are far away a look takes longer than that, and pages have to go on, too.
        this.#nextLookAt = performance.now() + Math.max(BETWEEN_LOOKS_MS, performance.now() - now);
      }
      const isRest = most === 0 && this.#waiting.every(({ suspects }) => suspects.length === 0);
      if (isRest || this.#sure.length >= BATCH_KEYS || this.#handOverAt <= now) await this.#handOver();
      for (let first = this.#waiting[0]; first && first.suspects.length + first.sure === 0; first = this.#waiting[0]) {
        this.#waiting.shift();
        this.#through(first.page, first.findings);
      }
      const open = this.#waiting.filter(({ suspects }) => suspects.length > 0);
      const count = open.reduce((sum, { suspects }) => sum + suspects.length, this.#sure.length);
      if (count <= most) return;
      const next = Math.max(this.#nextLookAt, Math.min(...open.map(({ dueAt }) => dueAt)));
      const pauseMs = Math.min(next, this.#handOverAt) - performance.now();
      if (pauseMs > 0) await sleep(pauseMs, undefined, { signal: this.#options.signal });
    }
  }

  async #lookAt(due: readonly Waiting[]): Promise<void> {
    const asked = due.flatMap((waiting) => waiting.suspects.map((suspect) => ({ waiting, suspect })));
    for (const { waiting } of asked) waiting.suspects = [];
    const verdicts = await this.#looks.verdicts(asked.map(({ suspect }) => suspect));
    const foundAtMs = Date.now();
    for (const [index, verdict] of verdicts.entries()) {
      const { waiting, suspect } = asked[index]!;
      const { key } = suspect;
      if (verdict === 'equal') continue;
      if (verdict === 'sure') this.#isSure({ key, difference: suspect.found.difference, foundAtMs }, waiting);
      else if (verdict instanceof ReconcileError)
        waiting.findings.push(...ofFailure(key, { outcome: 'failed', error: verdict }));
      else if (suspect.looks + 1 < MOST_LOOKS) waiting.suspects = [...waiting.suspects, verdict];
      else waiting.findings.push({ key, difference: null, reason: null });
    }
    for (const waiting of due) waiting.dueAt = this.#later();
  }

  #isSure(found: SureDifference, waiting: Waiting): void {
    if (this.#options.handOver === null) {
      waiting.findings.push(found);
      return;
    }
    if (this.#sure.length === 0) this.#handOverAt = performance.now() + GATHERED_MS;
    this.#sure.push({ ...found, waiting });
    waiting.sure += 1;
  }

  async #handOver(): Promise<void> {
    const sure = this.#sure;
    if (sure.length === 0) return;
    this.#sure = [];
    this.#handOverAt = Number.POSITIVE_INFINITY;
    const findings = await this.#options.handOver!(sure.map(({ waiting: _waiting, ...found }) => found));
    for (const [index, { waiting }] of sure.entries()) {
      waiting.findings.push(findings[index]!);
      waiting.sure -= 1;
    }
  }

  #later(): number {
    return performance.now() + this.#looks.settleMs;
  }
}

function ofFailure(key: Buffer, compared: Compared): Finding[] {
  if (compared.outcome !== 'failed') return [];
  const { type, message } = compared.error;
  return [{ key, difference: null, reason: `${type}: ${message}` }];
}
