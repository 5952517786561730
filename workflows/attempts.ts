/** One round over a key: settle, attempt, verify. Each wait says what may end it early. */

import { CancellationScope, condition, patched, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type {
  Activities,
  DeferredReply,
  Earlier,
  LargeReply,
  ReconciledReply,
  ReconcileReply,
  ReconcileRequest,
  VerifyRequest,
} from './activities.js';
import { outageLine } from './details.js';
import { inShort } from './error-types.js';
import { CANCELLED, type FailedAttempt, failedAttempt } from './failed-attempt.js';
import type { Interruption, KeyRun } from './key-run.js';
import type { LastError, LinkPolicy, ShardOutage, Stage, State } from './messages.js';
import { OUTLIVES_MS, VERIFY_ROUNDS } from './settle.js';

/** Up to this settle the local attempt waits itself and compares again: it has 5 s for all. */
const VERIFIES_ITSELF_MS = 2_000;
/** What Temporal takes of a summary, in characters of one byte. */
const LONGEST_SUMMARY = 200;
/**
 * Between looks at a key that differs each time, from the second one on, in ms: each costs a
 * workflow task, and the signals of a key that keeps failing come twice as often
 * (`src/bridge/pace.ts`). Together it is less than one task a second.
 */
const LOOKS_APART_MS = [0, 2_000, 4_000] as const;
/** Histories of earlier runs know nothing of it before they were patched. */
const LOOKS_AGAIN = 'looks-again-after-lost-attempts';

function looksAgain(run: KeyRun): boolean {
  return !run.isOfEarlierVersion || patched(LOOKS_AGAIN);
}

export type RoundEnd =
  | { readonly kind: 'finished'; readonly outcome: 'equal' | 'repaired' }
  | { readonly kind: 'failed'; readonly error: LastError }
  | { readonly kind: 'interrupted'; readonly by: Interruption };

type AttemptEnd =
  | { readonly kind: 'replied'; readonly reply: ReconciledReply }
  | { readonly kind: 'deferred'; readonly reply: DeferredReply }
  | FailedAttempt
  | { readonly kind: 'interrupted'; readonly by: Interruption; readonly last: FailedAttempt };

/** `large`: the value takes longer than a workflow task may. */
type LocalEnd = AttemptEnd | { readonly kind: 'large'; readonly reply: LargeReply };

const local = proxyLocalActivities<Pick<Activities, 'reconcile'>>({
  // Well below the workflow task timeout of 10 s, so that a hanging Redis does not hold the
  // workflow task.
  startToCloseTimeout: '5 seconds',
  retry: { maximumAttempts: 1 },
  summary: 'compare both sides, and repair what differs',
});

/**
 * @param maximumAttempts the first one is local and costs nothing more than the workflow itself;
 *   the rest is one durable activity with the retry policy of the link
 */
export async function reconcileRound(run: KeyRun, maximumAttempts: number): Promise<RoundEnd> {
  let repairs = 0;
  let looks = 0;
  let state: State = 'reconciling';
  const settleMs = run.policy.looksTwice === true ? 0 : run.current().settledAt - Date.now();
  let stopped = await wait(run, 'settling', settleMs);
  while (stopped === null) {
    const begunAt = Date.now();
    const { unverifiedSince } = run;
    const end = await attempt(run, state, maximumAttempts);
    if (end.kind === 'deferred') {
      stopped = await awaitRoom(run, end.reply);
      continue;
    }
    if (end.kind !== 'replied') return end;
    if (end.reply.outcome === 'repaired') repairs += 1;
    // A look of the attempt itself says nothing of what may have been written after it had begun.
    const verifiedItself = end.reply.verified === true && (unverifiedSince ?? 0) <= begunAt;
    if (verifiedItself || isVerified(run, end.reply, begunAt)) {
      return { kind: 'finished', outcome: run.hasRepaired ? 'repaired' : 'equal' };
    }
    if (run.hasNewWork() && run.interruption() !== 'skip') {
      // It was written again, so that it differed is no sign of a repair that does not hold.
      run.absorbPending();
      repairs = 0;
    } else if (repairs > VERIFY_ROUNDS) {
      return { kind: 'failed', error: contended() };
    }
    state = 'verifying';
    const provesAt = Math.max(run.current().settledAt, (run.unverifiedSince ?? 0) + run.policy.settleMs);
    // Without settle there is no timer, and runs of before would not replay with one.
    const apartMs = run.policy.settleMs === 0 ? 0 : (LOOKS_APART_MS[looks] ?? LOOKS_APART_MS[2]);
    looks += 1;
    stopped = await wait(run, 'verifying', Math.max(run.policy.settleMs, provesAt - Date.now(), apartMs));
  }
  return { kind: 'interrupted', by: stopped };
}

/**
 * Whether a comparison found nothing to do, long enough after the last write of ours that may have
 * met one in flight.
 */
function isVerified(run: KeyRun, reply: ReconciledReply, begunAt: number): boolean {
  if (run.policy.looksTwice === true) {
    const { settledAt } = run.current();
    const provesAt = run.unverifiedSince === null ? settledAt : run.unverifiedSince + run.policy.settleMs;
    return reply.outcome === 'equal' && begunAt >= Math.max(settledAt, provesAt);
  }
  if (!(run.current().verify || run.mustLookAgain) || run.unverifiedSince === null) return true;
  return reply.outcome === 'equal' && begunAt - run.unverifiedSince >= run.policy.settleMs;
}

function contended(): LastError {
  const message = `still different after ${VERIFY_ROUNDS} repairs: something keeps writing it on one side only`;
  return { type: 'Contended', message, stage: 'verify' };
}

const WAITS = {
  settling: 'writes in flight land before it is compared',
  verifying: 'written; compared once more when writes in flight have landed',
};

/**
 * Waits, unless there is nothing to wait for. A `retry` does not end it: comparing earlier would
 * mean nothing.
 */
async function wait(run: KeyRun, state: keyof typeof WAITS, ms: number): Promise<Interruption | null> {
  const stops = () => {
    const by = run.interruption();
    return by === 'retry' ? null : by;
  };
  if (ms > 0 && stops() === null) {
    run.enter(state);
    await condition(() => stops() !== null, ms, { summary: WAITS[state] });
  }
  return stops();
}

/**
 * Waits durably until the budget is likely to have room, or the server may be back. That uses up
 * nothing of the retry policy.
 */
async function awaitRoom(run: KeyRun, { retryAfterMs, outage }: DeferredReply): Promise<Interruption | null> {
  const since = Date.now();
  run.enter('waiting', since + retryAfterMs, outage ?? null);
  // Who has asked need not wait for as long as the outage lasts.
  if (outage !== undefined) run.asks.answer({ failure: isOut(outage) });
  const summary = outage === undefined ? 'waits for room in the budget' : `waits for ${outageLine(outage)}`;
  await condition(() => run.interruption() !== null, retryAfterMs, { summary: summary.slice(0, LONGEST_SUMMARY) });
  if (run.triesBegunAt !== null) run.triesBegunAt += Date.now() - since;
  return run.interruption();
}

function isOut(outage: ShardOutage): LastError {
  const message = `the key waits for the target's ${outageLine(outage)}, and is reconciled when that is back`;
  return { type: 'TargetUnavailable', message, stage: 'read' };
}

async function attempt(run: KeyRun, state: State, maximumAttempts: number): Promise<AttemptEnd> {
  run.enter(state);
  const resumed = run.triesBegunAt !== null;
  const begunAt = Date.now();
  run.triesBegunAt ??= begunAt;
  const first = await ending(local.reconcile({ ...run.request(), verify: verifyRequest(run) }));
  // A run that goes on for another one does not get the whole policy again: a key that is written
  // all the time would never escalate.
  const left = resumed
    ? attemptsLeft(run.policy.retry, Date.now() - (run.triesBegunAt ?? Date.now()))
    : maximumAttempts;
  if (first.kind === 'large') {
    const { wrote = false, lookAgain } = first.reply;
    if (wrote) noteUnverified(run);
    noteWrites(run, { wrote, lookAgain, earlier: 'nothing' });
    // Of the value that it is now nothing was tried yet.
    return durableAttempts(run, Math.min(left, maximumAttempts));
  }
  count(run, first);
  // That a server is away can take seconds to find out, each time: it is no time of the policy.
  if (first.kind === 'deferred') run.triesBegunAt = resumed ? run.triesBegunAt + Date.now() - begunAt : null;
  if (first.kind !== 'failed' || first.permanent) return first;
  if (Math.min(left, maximumAttempts) <= 1) return first;
  run.enter('retrying');
  return durableAttempts(run, Math.min(left, maximumAttempts) - 1);
}

function verifyRequest(run: KeyRun): VerifyRequest | undefined {
  const { settleMs, verify, looksTwice = false } = run.policy;
  const always = run.current().verify || run.mustLookAgain || looksTwice;
  if (settleMs > VERIFIES_ITSELF_MS || !(always || verify !== 'never')) return undefined;
  const alsoEqual = looksTwice && run.current().settledAt > Date.now();
  return { afterMs: settleMs, always, ...(alsoEqual && { alsoEqual }) };
}

/**
 * How many attempts of the policy are still to come so long after the first one, that one included.
 */
function attemptsLeft(retry: LinkPolicy['retry'], elapsedMs: number): number {
  let left = retry.maximumAttempts;
  let pause = retry.initialIntervalMs;
  for (let due = pause; due <= elapsedMs && left > 1; due += pause) {
    left -= 1;
    pause = Math.min(pause * retry.backoffCoefficient, retry.maximumIntervalMs);
    if (pause <= 0) break;
  }
  return left;
}

async function durableAttempts(run: KeyRun, maximumAttempts: number): Promise<AttemptEnd> {
  const { retry } = run.policy;
  const next = Math.max(1, retry.maximumAttempts - maximumAttempts + 1);
  const which = `attempt ${next} of ${retry.maximumAttempts}${next < retry.maximumAttempts ? ' and on' : ''}`;
  const soFar = run.lastError === null ? '' : `: ${inShort(run.lastError.type)}`;
  const durable = proxyActivities<Pick<Activities, 'reconcile'>>({
    // A large value takes its time. A worker that died shows by its heartbeats, a Redis that hangs
    // by its commands' timeouts.
    startToCloseTimeout: '1 hour',
    heartbeatTimeout: '10 seconds',
    summary: `${run.escalation === 'none' ? which : 'slow retry'}${soFar}`,
    cancellationType: run.isOfEarlierVersion ? 'TRY_CANCEL' : 'WAIT_CANCELLATION_COMPLETED',
    retry: {
      maximumAttempts,
      initialInterval: retry.initialIntervalMs,
      backoffCoefficient: retry.backoffCoefficient,
      maximumInterval: Math.max(retry.maximumIntervalMs, retry.initialIntervalMs),
    },
  });
  const end = await interruptible(run, maximumAttempts, (request) => durable.reconcile(request));
  count(run, end);
  return end;
}

/**
 * "Try again now" can't reach into the server's back-off, so the activity is cancelled and later
 * scheduled afresh. An attempt that is at work then hears of it with its next heartbeat. Its end is
 * waited for: until then it may write, and what another one had found would prove nothing.
 */
async function interruptible(
  run: KeyRun,
  maximumAttempts: number,
  work: (request: ReconcileRequest) => Promise<ReconcileReply>,
): Promise<AttemptEnd> {
  const scope = new CancellationScope();
  let ended = false;
  // A durable attempt goes through a large value itself.
  const end = scope.run(() => ending(work(run.request()), maximumAttempts)) as Promise<AttemptEnd>;
  void end.then(() => {
    ended = true;
  });
  await condition(() => ended || run.interruption() !== null);
  const by = run.interruption();
  if (!ended && by !== null) {
    scope.cancel();
    // The end of an attempt that arrives together with the interruption wins: what was done is
    // done.
    const last = await end;
    const isInterrupted = last.kind === 'failed' && (!run.isOfEarlierVersion || last.error.type === CANCELLED);
    return isInterrupted ? { kind: 'interrupted', by, last } : last;
  }
  return end;
}

async function ending(reply: Promise<ReconcileReply>, maximumAttempts?: number): Promise<LocalEnd> {
  try {
    const replied = await reply;
    if (replied.outcome === 'large') return { kind: 'large', reply: replied };
    return replied.outcome === 'deferred' ? { kind: 'deferred', reply: replied } : { kind: 'replied', reply: replied };
  } catch (failure) {
    return failedAttempt(failure, maximumAttempts);
  }
}

/** Stages at which nothing has been written yet. */
const BEFORE_WRITING: readonly (Stage | null)[] = ['read', 'compare'];

function count(run: KeyRun, end: AttemptEnd): void {
  if (end.kind === 'interrupted') {
    const { attempts, error, wrote, earlier } = end.last;
    const isCancelled = error.type === CANCELLED;
    if (!isCancelled) run.countAttempts(attempts, error);
    noteUnverified(run);
    // What was cancelled says nothing of what it has written, nor do those before it.
    noteWrites(run, { wrote, lookAgain: isCancelled ? !run.isOfEarlierVersion : wrote && looksAgain(run), earlier });
  } else if (end.kind === 'deferred') {
    const { attempt, wrote, lookAgain, earlier = 'nothing' } = end.reply;
    // Itself it was none; those of the same activity before it were.
    run.countAttempts(attempt - 1, null);
    if (wrote || attempt > 1) noteUnverified(run);
    noteWrites(run, { wrote, lookAgain, earlier });
  } else if (end.kind === 'replied') {
    const { attempt, outcome, lookAgain, earlier = 'nothing' } = end.reply;
    run.countAttempts(attempt, null);
    run.triesBegunAt = null;
    // An earlier attempt of the activity may have written although it failed.
    if (outcome === 'repaired' || attempt > 1 || earlier !== 'nothing') noteUnverified(run);
    noteWrites(run, { wrote: outcome === 'repaired', lookAgain, earlier });
  } else {
    const { attempts, error, wrote, earlier } = end;
    run.countAttempts(attempts, error);
    if (wrote || attempts > 1 || !BEFORE_WRITING.includes(error.stage)) noteUnverified(run);
    noteWrites(run, { wrote, lookAgain: wrote && looksAgain(run), earlier });
  }
}

/** Never earlier than what is known of a lost attempt. */
function noteUnverified(run: KeyRun): void {
  run.unverifiedSince = Math.max(run.unverifiedSince ?? 0, Date.now());
}

interface Writes {
  readonly wrote: boolean;
  readonly lookAgain?: boolean | undefined;
  readonly earlier: Earlier;
}

function noteWrites(run: KeyRun, { wrote, lookAgain, earlier }: Writes): void {
  if (wrote || earlier === 'wrote') run.hasRepaired = true;
  if (lookAgain && run.policy.verify !== 'never') run.mustLookAgain = true;
  if (earlier !== 'unknown' || !looksAgain(run)) return;
  // What it finds when it goes on is fenced by time: only a comparison after that proves something.
  run.mustLookAgain = true;
  run.unverifiedSince = Date.now() + Math.max(0, OUTLIVES_MS - run.policy.settleMs);
}
