/** The state of a redrive as a plain value: how far it is, and how large its next step is. */
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
const MOST_NAMED = 100;

export type RedriveRun = { -readonly [Field in keyof RedriveCarried]: RedriveCarried[Field] };

export function newRun(input: RedriveInput, redriveId: string, now: number): RedriveRun {
  return {
    redriveId,
    startedAt: new Date(now).toISOString(),
    passed: {},
    ends: null,
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
  { passed, ends, counts, failed, equalKeys }: TryLettersReply,
  { failureRatio = DEFAULT_FAILURE_RATIO }: Pick<RedriveInput, 'failureRatio'>,
  now: number,
): boolean {
  run.passed = passed;
  run.ends = ends;
  run.counts = summed(run.counts, counts);
  run.failures = failuresWith(run.failures, failed);
  run.equalKeys = [...run.equalKeys, ...equalKeys].slice(0, MOST_NAMED);
  if (run.rate !== undefined) {
    const paidUntil = run.dueAt + ((counts.redriven + counts.discarded) * 1000) / run.rate;
    run.dueAt = Math.max(paidUntil, now - BURST_SECONDS * 1000);
  }
  // A step in which nothing could be tried proves nothing.
  if (counts.keys > 0) run.step += 1;
  return counts.keys > 0 && failed.length / counts.keys > failureRatio;
}

function summed(one: RedriveCounts, other: RedriveCounts): RedriveCounts {
  const names = Object.keys(one) as (keyof RedriveCounts)[];
  return Object.fromEntries(names.map((name) => [name, one[name] + other[name]])) as unknown as RedriveCounts;
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
