/**
 * One durable workflow per key: the key is the workflow ID, so its repairs are serialised. Messages
 * come first (`messages.ts`), then the state they change (`key-run.ts`, `pending.ts`), then one
 * round (`attempts.ts`) and its failure (`escalation.ts`).
 */
import { allHandlersFinished, CancellationScope, condition, continueAsNew, setHandler } from '@temporalio/workflow';
import { unwrap } from './asks.js';
import { reconcileRound } from './attempts.js';
import { escalate } from './attributes.js';
import { dismissed, endCancelled } from './cancelled.js';
import { holdEscalated, refuseOthers } from './escalation.js';
import { KeyRun } from './key-run.js';
import * as messages from './messages.js';
import type { RunInput } from './run-state.js';

export async function reconcileKey(input: RunInput): Promise<messages.ReconcileKeyResult> {
  const run = new KeyRun(input);
  listen(run);
  CancellationScope.current().cancelRequested.catch(() => run.askCancel());
  // What is cancelled ends in good order, as by a skip.
  return CancellationScope.nonCancellable(() => untilDone(run));
}

async function untilDone(run: KeyRun): Promise<messages.ReconcileKeyResult> {
  const isTold = () => run.hasWork() || run.isCancelled;
  const canGoOn = () => run.hasWork() || allHandlersFinished();
  // Messages that came with the start are handled in the same turn: most runs need no timer.
  await null;
  // A run without any message (started by hand) is itself the wish to look at the key.
  if (run.isOfEarlierVersion || !isTold()) if (!(await condition(isTold, 1))) run.askRound();
  while (run.hasWork() && !run.isCancelled) {
    await bringToEnd(run);
    // An update must be answered before its run closes. No await follows: a signal that comes later
    // makes the server refuse the completion and hand the signal to a new workflow task.
    if (!canGoOn()) await condition(canGoOn);
  }
  if (run.isCancelled) await endCancelled(run);
  return run.result();
}

/** Reconciles all that is pending until it is equal, repaired or skipped, or the run cancelled. */
async function bringToEnd(run: KeyRun): Promise<void> {
  let failure = run.escalation === 'none' ? null : run.lastError;
  run.beginRound();
  for (;;) {
    if (run.mustContinueAsNew() && !run.isCancelled) {
      // A failure is carried as the escalation that it leads to.
      if (failure !== null) await escalate(run, failure);
      return carryOn(run);
    }
    const end = failure === null ? await reconcileRound(run, run.maximumAttempts) : await holdEscalated(run, failure);
    failure = null;
    if (end.kind === 'finished') return run.finishRound(end.outcome);
    if (end.kind === 'failed') failure = end.error;
    else if (end.by === 'cancel') return;
    else if (end.by === 'skip') return run.finishRound('skipped');
    else run.absorbPending();
  }
}

/** Continues as new. Returns only when the run was cancelled meanwhile. */
async function carryOn(run: KeyRun): Promise<void> {
  await dismissed(run);
  if (run.isCancelled) return;
  // Taken after the last await: a signal handled until here is carried; a later one makes the
  // server refuse this command.
  await continueAsNew<typeof reconcileKey>(run.carry());
}

function listen(run: KeyRun): void {
  const take = (events: messages.FailedWrite[]) => {
    const misled = run.add(events);
    // No promise for nothing: thousands of signals can come in one task, and each promise costs.
    return misled.length === 0 ? undefined : inAnyCase(() => refuseOthers(misled, run.letters));
  };
  setHandler(messages.failedWrites, take, {
    description:
      'Adds failed writes (an array of failed-write records) to what is pending. Records seen before are ignored.',
  });
  setHandler(messages.retry, (request) => run.askRetry(request), {
    description:
      'Try again now, with every attempt of the link. No input, or {"allowDelete": true} to vouch for a delete that the guard refused.',
  });
  setHandler(messages.skip, (request) => run.askSkip(request?.reason), {
    description: 'Give up on what is pending. Input: {"reason": "why"}. The reason is kept in the result.',
  });
  setHandler(
    messages.reconcileNow,
    async (request) => {
      const ticket = run.askRound(request);
      await inAnyCase(() => condition(() => run.asks.answerTo(ticket) !== null));
      return unwrap(run.asks.answerTo(ticket)!);
    },
    { description: 'Reconcile the whole key now and answer with the outcome: equal, repaired or skipped.' },
  );
  setHandler(messages.status, () => run.status(), {
    description: 'State, attempts, pending failed writes, last outcome, last error, next retry.',
  });
}

/** What a handler has begun also comes to its end when the run is cancelled. */
function inAnyCase<T>(work: () => Promise<T>): Promise<T> {
  return CancellationScope.nonCancellable(work);
}
