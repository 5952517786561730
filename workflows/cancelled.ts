/** The end of a run that was cancelled: a skip that leaves a dead letter with what was pending. */
import { allHandlersFinished, CancelledFailure, condition, continueAsNew } from '@temporalio/workflow';
import { leaveEscalated } from './attributes.js';
import { publishLetter } from './escalation.js';
import type { KeyRun } from './key-run.js';
import type { LastError } from './messages.js';

/**
 * Never returns. What failed after the run was cancelled is nobody's wish to give up on: it gets a
 * run of its own, which looks at the whole key.
 * @throws CancelledFailure when there is nothing of that kind
 */
export async function endCancelled(run: KeyRun): Promise<never> {
  await leaveEscalated(run);
  const why = causeOf(run.lastError);
  run.asks.answer({ failure: why });
  if (run.current().count > 0) await publishLetter(run, why, run.letters.next());
  run.finishCancelled();
  await dismissed(run);
  // No await follows: a signal that comes later makes the server refuse the end of this run.
  if (run.hasWorkAfterCancel()) return continueAsNew(run.carryAfterCancel());
  throw new CancelledFailure('cancelled');
}

/** An update can't outlive its run, so whoever waits is told to ask again. */
export async function dismissed(run: KeyRun): Promise<void> {
  while (!allHandlersFinished()) {
    run.asks.coverAll();
    run.asks.answer({ failure: CONTINUED });
    await condition(() => allHandlersFinished() || run.asks.areOpen);
  }
}

const CONTINUED: LastError = {
  type: 'ContinuedAsNew',
  message: 'the workflow continued as new; ask again',
  stage: null,
};

function causeOf(last: LastError | null): LastError {
  const before = last === null ? '' : `; its last attempt had failed with ${last.type}: ${last.message}`;
  return {
    type: 'Cancelled',
    message: `the workflow was cancelled while failed writes were pending${before}`,
    stage: null,
  };
}
