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

/** @throws VerbError where Temporal does not take it */
export function signalling<Args extends unknown[]>(
  client: Client,
  config: Config,
  signal: SignalDefinition<Args>,
  ...args: Args
): (target: Target) => Promise<Answer> {
  return async ({ workflowId, key, isEscalated }) => {
    let wasEscalated = isEscalated;
    if (key !== null) {
      const run = await ownRun(client, config, key).catch(refusal);
      if (run !== null && 'why' in run) return run;
      if (run === null || run.status.name !== 'RUNNING') return { kind: 'gone' };
      wasEscalated = wasEscalatedIn(run);
    }
    try {
      await client.workflow.getHandle(workflowId).signal(signal, ...args);
      return { kind: 'told', wasEscalated };
    } catch (error) {
      // One that healed since it was found has nothing left.
      if (error instanceof WorkflowNotFoundError) return { kind: 'gone' };
      throw new VerbError(`workflow ${workflowId} was not told: ${errorText(error)}`);
    }
  };
}

export function wasEscalatedIn({ typedSearchAttributes }: WorkflowExecutionDescription): boolean {
  return typedSearchAttributes.get(STATE) === 'escalated';
}

/** One of somebody else's does not stop the others. */
export function refusal(error: unknown): Answer & { readonly kind: 'refused' } {
  if (error instanceof ForeignRunError) return { kind: 'refused', why: error.message };
  throw error;
}
