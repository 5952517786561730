/**
 * After the last attempt: a dead-letter record, a visible state, and waiting for a person, a write
 * or the slow retry.
 */

import { CancellationScope, condition, proxyActivities } from '@temporalio/workflow';
import type { Activities, EscalateRequest, Letter } from './activities.js';
import { type RoundEnd, reconcileRound } from './attempts.js';
import { escalate, leaveEscalated } from './attributes.js';
import { inShort } from './error-types.js';
import type { Interruption, KeyRun } from './key-run.js';
import type { Letters } from './letters.js';
import type { FailedWrite, LastError } from './messages.js';
import { representative } from './pending.js';

function publish(request: EscalateRequest): Promise<void> {
  const { escalate } = proxyActivities<Pick<Activities, 'escalate'>>({
    startToCloseTimeout: '1 minute',
    // Longer than Kafka takes to do without a broker that has died (9 s): a letter that waited for
    // it does not show before, and whoever looks for it then would publish it again.
    heartbeatTimeout: '20 seconds',
    // No last attempt: a key that was given up on must be heard of, however long Kafka is away.
    retry: { initialInterval: '1 second', backoffCoefficient: 2, maximumInterval: '1 minute' },
    summary: `dead letter: ${inShort(request.error.type)}`,
  });
  return escalate(request);
}

/**
 * Holds the key until it is equal, skipped or asked to be retried.
 * @returns `interrupted` by `retry` (start again with every attempt of the policy), `cancel`,
 *   `skip` or `continueAsNew`; or the end of a slow retry that succeeded. Never `failed`.
 */
export async function holdEscalated(run: KeyRun, error: LastError): Promise<RoundEnd> {
  const isNew = run.escalation === 'none';
  await escalate(run, error);
  if (isNew) run.asks.answer({ failure: error });
  // Whoever asked while an escalated key continued as new has not been answered by any attempt yet.
  let attemptNow = !isNew && run.asks.areOpen;
  const publishing = new CancellationScope();
  if (run.escalation === 'unpublished') publishing.run(() => publishDeadLetter(run, error, !isNew)).catch(() => {});
  const leave = async () => {
    if (run.actsInOwnTask) {
      await inTaskOfItsOwn();
      publishing.cancel();
    }
    await leaveEscalated(run);
  };
  try {
    for (;;) {
      const wake = attemptNow ? 'attempt' : await nextWake(run);
      attemptNow = false;
      if (wake !== 'attempt') {
        if (wake !== 'continueAsNew') await leave();
        return { kind: 'interrupted', by: wake };
      }
      run.absorbPending();
      // One attempt only, and the state stays `escalated`: neither alerts nor dead letters flap
      // while the cause lasts.
      const end = await reconcileRound(run, 1);
      if (end.kind === 'finished') {
        await leave();
        return end;
      }
      if (end.kind === 'failed') {
        await escalate(run, end.error);
        run.asks.answer({ failure: end.error });
      }
    }
  } finally {
    // A record that is not out yet speaks of a state that is over (or, at continue-as-new, the next
    // run publishes it).
    publishing.cancel();
  }
}

/**
 * A replay resolves a local activity in the task that has its marker. Where a query was answered
 * in that task it was first resolved in the next one, behind the events of that one: what they
 * decide differs then, and the run is stuck (SDK 1.24). Who signals asks for the status at once, so
 * what follows runs behind the task of the signal, and decides nothing by events.
 */
async function inTaskOfItsOwn(): Promise<void> {
  await condition(() => false, 1, { summary: 'goes on in a task of its own' });
}

async function publishDeadLetter(run: KeyRun, error: LastError, isContinued: boolean): Promise<void> {
  await publishLetter(run, error, run.letters.ofEscalation(isContinued));
  if (run.escalation === 'unpublished') run.escalation = 'published';
}

/** Resolves when the dead letters have one with all that is pending, however long that takes. */
export async function publishLetter(run: KeyRun, error: LastError, letter: Letter): Promise<void> {
  const { attempts, firstFailedAt, lastFailedAt, link, key, encoding } = run.status();
  const now = new Date().toISOString();
  await publish({
    // Nothing failed that we know of when the round was asked for by hand; the record then stands
    // for the key itself.
    event: representative(run.current()) ?? { specVersion: 1, id: `demand-${now}`, link, key, encoding, failedAt: now },
    error,
    attempts,
    firstFailedAt: firstFailedAt ?? now,
    lastFailedAt: lastFailedAt ?? now,
    letter,
  });
}

async function nextWake(run: KeyRun): Promise<Interruption | 'attempt'> {
  const { escalation, retry } = run.policy;
  const since = Date.now();
  run.enter('escalated', since + escalation.retryEveryMs);
  const summary = `escalated (${inShort(run.lastError?.type ?? 'unknown error')}): next try by itself`;
  await condition(() => asked(run) !== null || run.hasReasonToTry(), escalation.retryEveryMs, { summary });
  if (asked(run) === null && run.hasReasonToTry()) {
    // A key that is written all the time must not turn its escalation into a hot loop.
    const rest = Math.min(retry.maximumIntervalMs, escalation.retryEveryMs) - (Date.now() - since);
    if (rest > 0) {
      run.enter('escalated', Date.now() + rest);
      await condition(() => asked(run) !== null, rest, { summary: 'written again: next try by itself' });
    }
  }
  return asked(run) ?? 'attempt';
}

/** What can't wait. An update counts as an attempt, not as the wish to leave the escalation. */
function asked(run: KeyRun): Interruption | 'attempt' | null {
  const by = run.interruption();
  return by === 'retry' && !run.retryWanted ? 'attempt' : by;
}

/**
 * Failed writes of another key, which Temporal has led here: each becomes a dead letter. Waited for
 * by the end of the run, like every handler.
 */
export async function refuseOthers(events: readonly FailedWrite[], letters: Letters): Promise<void> {
  // Named now: others may come while these are published.
  const named = events.map((event) => [event, letters.next()] as const);
  for (const [event, letter] of named) {
    const message =
      'the workflow that took it is of another key: the store of Temporal takes their two IDs for one. Let it compare IDs ' +
      'byte by byte (a binary collation), or make the keys differ by more than case';
    const now = new Date().toISOString();
    const error = { type: 'WorkflowIdTaken', message, stage: 'signal' } as const;
    await publish({
      event,
      error,
      attempts: 1,
      firstFailedAt: event.failedAt ?? now,
      lastFailedAt: event.failedAt ?? now,
      letter,
    });
  }
}
