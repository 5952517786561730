/** Asks for one key of many to be reconciled now, and does not wait for what takes long. */
import {
  type Client,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { reconcileNow } from '../../../workflows/messages.js';
import type { Config } from '../../config.js';
import { errorText } from '../../temporal/error-text.js';
import { isStuck, isUnanswered } from '../../temporal/unanswered.js';
import { STUCK, whoIsMissing } from '../answers.js';
import { VerbError } from '../context.js';
import { ownRun } from '../own-run.js';
import { ACCEPTANCE_MS, startUpdate } from '../reconcile-update.js';
import type { Answer, ToldEnd } from './run.js';
import type { Target } from './selection.js';
import { refusal, wasEscalatedIn } from './signalling.js';

/** A key that is well is equal sooner; one that is not is not waited for, its workflow goes on. */
const ANSWER_MS = 2_000;

/** @throws VerbError where Temporal does not take it */
export function reconciling(client: Client, config: Config): (target: Target) => Promise<Answer> {
  return async ({ workflowId, taskQueue, key, isEscalated }) => {
    let wasEscalated = isEscalated;
    if (key !== null) {
      const run = await ownRun(client, config, key).catch(refusal);
      if (run !== null && 'why' in run) return run;
      wasEscalated = run !== null && wasEscalatedIn(run);
    }
    // Of one that was found by a search the ID alone is known, and it is under way.
    const asking = () =>
      key === null
        ? client.workflow.getHandle(workflowId).startUpdate(reconcileNow, { args: [{}], waitForStage: 'ACCEPTED' })
        : startUpdate(client, config, key, {});
    try {
      const update = await client.withDeadline(Date.now() + ACCEPTANCE_MS, asking);
      const done = await client
        .withDeadline(Date.now() + ANSWER_MS, () => update.result())
        .then(({ outcome }): ToldEnd => ({ done: outcome }), failedOrLater);
      return { kind: 'told', wasEscalated, ...done };
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return { kind: 'gone' };
      if (!isUnanswered(error)) throw new VerbError(`workflow ${workflowId} was not asked: ${errorText(error)}`);
      const why = isStuck(error) ? STUCK : whoIsMissing(taskQueue ?? config.temporal.taskQueue, config);
      return { kind: 'unanswered', why, isStuck: isStuck(error) };
    }
  };
}

/** What comes later shows in Temporal's list. */
function failedOrLater(error: unknown): ToldEnd {
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return {};
  if (!(error instanceof WorkflowUpdateFailedError)) throw error;
  const type = error.cause instanceof ApplicationFailure ? error.cause.type : undefined;
  // Its run has made room for a new one, which tries the key as well.
  return type === 'ContinuedAsNew' ? {} : { failed: type ?? 'Error' };
}
