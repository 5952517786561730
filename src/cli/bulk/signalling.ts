/** Tells one key of many something by a signal. */
import { type Client, type WorkflowExecutionDescription, WorkflowNotFoundError } from '@temporalio/client';
import { defineSearchAttributeKey, type SignalDefinition } from '@temporalio/common';
import { SEARCH_ATTRIBUTES } from '../../../workflows/messages.js';
import type { Config } from '../../config.js';
import { errorText } from '../../temporal/error-text.js';
import { VerbError } from '../context.js';
import { ForeignRunError, ownRun } from '../own-run.js';
import type { Answer } from './run.js';
import type { Target } from './selection.js';

const STATE = defineSearchAttributeKey(SEARCH_ATTRIBUTES.state, 'KEYWORD');

/**
 * @param looksAgain whether one that a list has shown is looked at once more right before it is
 *   told: the list is read ahead, and what it has shown may be over by then
 * @throws VerbError where Temporal does not take it
 */
export function signalling<Args extends unknown[]>(
  client: Client,
  config: Config,
  { looksAgain }: { readonly looksAgain: boolean },
  signal: SignalDefinition<Args>,
  ...args: Args
): (target: Target) => Promise<Answer> {
  return async (target) => {
    const { workflowId, key, isEscalated } = target;
    let wasEscalated = isEscalated;
    let runId: string | undefined;
    if (key !== null) {
      const run = await ownRun(client, config, key).catch(refusal);
      if (run !== null && 'why' in run) return run;
      if (run === null || run.status.name !== 'RUNNING') return { kind: 'gone' };
      wasEscalated = wasEscalatedIn(run);
    }
    try {
      if (looksAgain && key === null) {
        if (!(await isAsFound(client, target))) return { kind: 'gone' };
        // A run that begins between the look and the signal does not get it.
        runId = target.runId ?? undefined;
      }
      await client.workflow.getHandle(workflowId, runId).signal(signal, ...args);
      return { kind: 'told', wasEscalated };
    } catch (error) {
      // One that healed since it was found has nothing left.
      if (error instanceof WorkflowNotFoundError) return { kind: 'gone' };
      throw new VerbError(`workflow ${workflowId} was not told: ${errorText(error)}`);
    }
  };
}

/** Whether the run that the list has shown goes on, and is escalated still if it was. */
async function isAsFound(client: Client, { workflowId, runId, isEscalated }: Target): Promise<boolean> {
  const run = await client.workflow.getHandle(workflowId).describe();
  return run.status.name === 'RUNNING' && run.runId === runId && (!isEscalated || wasEscalatedIn(run));
}

export function wasEscalatedIn({ typedSearchAttributes }: WorkflowExecutionDescription): boolean {
  return typedSearchAttributes.get(STATE) === 'escalated';
}

/** One of somebody else's does not stop the others. */
export function refusal(error: unknown): Answer & { readonly kind: 'refused' } {
  if (error instanceof ForeignRunError) return { kind: 'refused', why: error.message };
  throw error;
}
