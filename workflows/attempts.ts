/** One round over a key: settle, attempt, verify. Each wait says what may end it early. */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  condition,
  proxyActivities,
  proxyLocalActivities,
  TimeoutFailure,
} from '@temporalio/workflow';
import type { Interruption, KeyRun } from './key-run.js';
import type { Activities, AttemptErrorDetail, LastError, ReconcileReply, ReconcileRequest, State } from './messages.js';

/** How often a repair is looked at again before the key counts as contended. */
const VERIFY_ROUNDS = 5;

export type RoundEnd =
  | { readonly kind: 'finished'; readonly outcome: 'equal' | 'repaired' }
  | { readonly kind: 'failed'; readonly error: LastError }
  | { readonly kind: 'interrupted'; readonly by: Interruption };

type AttemptEnd =
  | { readonly kind: 'replied'; readonly reply: ReconcileReply }
  | { readonly kind: 'failed'; readonly error: LastError; readonly attempts: number; readonly permanent: boolean }
  | { readonly kind: 'interrupted'; readonly by: Interruption };

const local = proxyLocalActivities<Pick<Activities, 'reconcile'>>({
  // Well below the workflow task timeout of 10 s, so that a hanging Redis does not hold the workflow task.
  startToCloseTimeout: '5 seconds',
  retry: { maximumAttempts: 1 },
});

/**
 * @param maximumAttempts the first one is local and costs nothing more than the workflow itself; the rest is one durable
 *   activity with the retry policy of the link
 */
export async function reconcileRound(run: KeyRun, maximumAttempts: number): Promise<RoundEnd> {
  let outcome: 'equal' | 'repaired' = 'equal';
  const settled = await wait(run, 'settling', run.current().settledAt - Date.now());
  if (settled !== null) return { kind: 'interrupted', by: settled };
  for (let round = 0; round <= VERIFY_ROUNDS; round++) {
    const end = await attempt(run, round === 0 ? 'reconciling' : 'verifying', maximumAttempts);
    if (end.kind !== 'replied') return end;
    if (end.reply.outcome === 'equal') return { kind: 'finished', outcome };
    outcome = 'repaired';
    // Read here and not before: a write that came in during the attempt may have asked for it.
    if (!run.current().verify) return { kind: 'finished', outcome };
    const verified = await wait(run, 'verifying', run.policy.settleMs);
    if (verified !== null) return { kind: 'interrupted', by: verified };
  }
  const message = `still different after ${VERIFY_ROUNDS} repairs: something keeps writing it on one side only`;
  return { kind: 'failed', error: { type: 'Contended', message, stage: 'verify' } };
}

/** Waits, unless there is nothing to wait for. A `retry` does not end it: comparing earlier would mean nothing. */
async function wait(run: KeyRun, state: State, ms: number): Promise<Interruption | null> {
  if (ms <= 0) return null;
  run.enter(state);
  const stops = () => {
    const by = run.interruption();
    return by === 'retry' ? null : by;
  };
  await condition(() => stops() !== null, ms);
  return stops();
}

async function attempt(run: KeyRun, state: State, maximumAttempts: number): Promise<AttemptEnd> {
  run.enter(state);
  const first = await ending(local.reconcile(run.request()));
  count(run, first);
  if (first.kind !== 'failed' || first.permanent || maximumAttempts <= 1) return first;
  run.enter('retrying');
  for (;;) {
    run.absorbPending();
    const end = await durableAttempts(run, maximumAttempts - 1);
    count(run, end);
    // "Try again now" can't reach into the server's back-off, so the activity is cancelled and scheduled afresh. The old
    // attempt may still be at work: its writes are fenced, so two of them do no harm.
    if (end.kind !== 'interrupted' || end.by !== 'retry') return end;
  }
}

async function durableAttempts(run: KeyRun, maximumAttempts: number): Promise<AttemptEnd> {
  const { retry } = run.policy;
  const durable = proxyActivities<Pick<Activities, 'reconcile'>>({
    startToCloseTimeout: '1 minute',
    heartbeatTimeout: '10 seconds',
    retry: {
      maximumAttempts,
      initialInterval: retry.initialIntervalMs,
      backoffCoefficient: retry.backoffCoefficient,
      maximumInterval: Math.max(retry.maximumIntervalMs, retry.initialIntervalMs),
    },
  });
  return interruptible(run, (request) => durable.reconcile(request));
}

async function interruptible(
  run: KeyRun,
  work: (request: ReconcileRequest) => Promise<ReconcileReply>,
): Promise<AttemptEnd> {
  const scope = new CancellationScope();
  let end: AttemptEnd | null = null;
  void scope
    .run(() => ending(work(run.request())))
    .then((ended) => {
      end = ended;
    });
  await condition(() => end !== null || run.interruption() !== null);
  // The end wins over an interruption of the same moment: what was done is done.
  const by = run.interruption();
  if (end !== null || by === null) return end as unknown as AttemptEnd;
  scope.cancel();
  return { kind: 'interrupted', by };
}

async function ending(reply: Promise<ReconcileReply>): Promise<AttemptEnd> {
  try {
    return { kind: 'replied', reply: await reply };
  } catch (failure) {
    return failedAttempt(failure);
  }
}

function failedAttempt(failure: unknown): AttemptEnd {
  const cause = failure instanceof ActivityFailure && failure.cause !== undefined ? failure.cause : failure;
  if (cause instanceof ApplicationFailure) {
    const detail = cause.details?.[0] as AttemptErrorDetail | undefined;
    const error = { type: cause.type ?? 'Error', message: cause.message, stage: detail?.stage ?? null };
    return { kind: 'failed', error, attempts: detail?.attempt ?? 1, permanent: cause.nonRetryable === true };
  }
  const type = cause instanceof TimeoutFailure ? 'Timeout' : cause instanceof Error ? cause.name : 'Error';
  const message =
    cause instanceof TimeoutFailure
      ? 'the attempt did not end in time: its worker died or a Redis hangs'
      : String(cause);
  return { kind: 'failed', error: { type, message, stage: null }, attempts: 1, permanent: false };
}

function count(run: KeyRun, end: AttemptEnd): void {
  if (end.kind === 'replied') run.countAttempts(end.reply.attempt, null);
  if (end.kind === 'failed') run.countAttempts(end.attempts, end.error);
}
