/** The state of a redrive as a plain value: how far it is, and how large its next step is. */
import { firstWithin } from './json-bytes.js';
import {
  DEFAULT_FAILURE_RATIO,
  NOTHING_REDRIVEN,
  type RedriveCarried,
  type RedriveCounts,
  type RedriveFailure,
  type RedriveInput,
  type TryLettersReply,
} from './redrive-messages.js';

/**
 * Keys of each step, the last of them from then on. The first ones prove that the cause is mended
 * before the many are touched.
 */
const STEPS = [1, 5, 20, 100, 500, 1_000];
/** Letters of a step: those of a hot key are many. */
const MOST_LETTERS = 5_000;
/** Letters of a step at a rate come within so many seconds, and so much lag is caught up. */
const BURST_SECONDS = 2;
const MOST_FAILURES = 20;
const NAMED = { items: 100, bytes: 16 * 1024 };
/** Between two rounds, while a server does not answer. */
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [2_000, 30_000];

type Mutable<Type> = { -readonly [Field in keyof Type]: Type[Field] };

export type RedriveRun = Mutable<RedriveCarried>;

export function newRun(input: RedriveInput, redriveId: string, now: number): RedriveRun {
  return {
    redriveId,
    startedAt: new Date(now).toISOString(),
    passed: {},
    ends: null,
    storeId: null,
    round: 0,
    waiting: null,
    waitsFor: null,
    step: 0,
    state: 'running',
    rate: input.rate,
    dueAt: now,
    counts: NOTHING_REDRIVEN,
    failures: [],
    equalKeys: [],
    ...input.carried,
  };
}

/** What the next step may take; none when as many as were asked for are through. */
export function nextStep(run: RedriveRun, { max = Number.POSITIVE_INFINITY }: Pick<RedriveInput, 'max'>) {
  const { redriven, discarded } = run.counts;
  const left = max - redriven - discarded;
  const atRate = run.rate === undefined ? Number.POSITIVE_INFINITY : Math.ceil(run.rate * BURST_SECONDS);
  return {
    mostKeys: STEPS[Math.min(run.step, STEPS.length - 1)]!,
    mostLetters: Math.max(0, Math.min(MOST_LETTERS, left, atRate)),
  };
}

/**
 * Takes what a step has come to.
 * @param now when it ended, in ms since the epoch
 * @returns whether more of it failed than may
 */
export function takeStep(
  run: RedriveRun,
  { passed, ends, isLast, counts, failed, equalKeys, waitsFor, storeId }: TryLettersReply,
  { failureRatio = DEFAULT_FAILURE_RATIO }: Pick<RedriveInput, 'failureRatio'>,
  now: number,
): boolean {
  // A worker of an earlier version knows of none that wait, nor of the last two.
  const { waiting = 0 } = counts;
  if (waiting > 0) {
    const { letters, behind } = run.waiting ?? { letters: 0, behind: run.passed };
    run.waiting = { letters: letters + waiting, behind };
    run.waitsFor = waitsFor;
  }
  run.passed = passed;
  run.ends = ends;
  run.storeId = storeId ?? null;
  run.counts = summed(run, counts, isLast);
  if (run.counts.waiting === 0) run.waitsFor = null;
  run.failures = failuresWith(run.failures, failed);
  run.equalKeys = firstWithin([...run.equalKeys, ...equalKeys], NAMED);
  if (run.rate !== undefined) {
    const paidUntil = run.dueAt + ((counts.redriven + counts.discarded) * 1000) / run.rate;
    run.dueAt = Math.max(paidUntil, now - BURST_SECONDS * 1000);
  }
  // A step in which nothing could be tried proves nothing.
  if (counts.keys > 0) run.step += 1;
  return counts.keys > 0 && failed.length / counts.keys > failureRatio;
}

/** @returns how long a server is waited for before the letters of its keys are tried once more */
export function nextRound(run: RedriveRun): number {
  run.passed = run.waiting?.behind ?? {};
  run.waiting = null;
  run.round += 1;
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (run.round - 1));
}

function summed({ counts: before, round, waiting }: RedriveRun, counts: RedriveCounts, isLast: boolean): RedriveCounts {
  // In a further round it meets letters that it has left in the first one.
  const more = round === 0 ? counts : { ...counts, unusable: 0, exhausted: 0 };
  const names = Object.keys(NOTHING_REDRIVEN) as (keyof RedriveCounts)[];
  const sum: Mutable<RedriveCounts> = { ...NOTHING_REDRIVEN };
  for (const name of names) sum[name] = (before[name] ?? 0) + (more[name] ?? 0);
  // Those that this round has not come to yet wait as they did.
  const notMet = round === 0 || isLast ? 0 : (before.waiting ?? 0) - counts.redriven;
  sum.waiting = Math.max(waiting?.letters ?? 0, notMet);
  sum.seen = sum.redriven + sum.discarded + sum.unusable + sum.exhausted + sum.waiting;
  return sum;
}

function failuresWith(known: readonly RedriveFailure[], failed: TryLettersReply['failed']): RedriveFailure[] {
  const byKind = new Map(known.map((failure) => [`${failure.type} ${failure.message}`, failure]));
  for (const { error, offsets } of failed) {
    const letters = Object.values(offsets).reduce((sum, ofPart) => sum + ofPart.length, 0);
    const kind = `${error.type} ${error.message}`;
    const one = byKind.get(kind);
    byKind.set(kind, { ...error, letters: (one?.letters ?? 0) + letters });
  }
  return [...byKind.values()].sort((one, other) => other.letters - one.letters).slice(0, MOST_FAILURES);
}
