/**
 * The run under a key's ID, if it is one of ours. A workflow of somebody else there takes any
 * signal, and repairs nothing.
 */
import { type Client, type WorkflowExecutionDescription, WorkflowNotFoundError } from '@temporalio/client';
import type { SignalDefinition } from '@temporalio/common';
import { type KeyStatus, WORKFLOW_TYPE } from '../../workflows/messages.js';
import { foreignRunOf } from '../bridge/runs/own-runs.js';
import type { Config } from '../config.js';
import { findInBatches } from '../temporal/key-in-batch.js';
import { expectAnswer, whoseQueue } from './answers.js';
import { VerbError } from './context.js';
import { explainMissing, handleOf, type KeyWorkflow, nothingUnderWay } from './key-workflow.js';
import { keyText } from './printable.js';

/** Under the ID of a key is a workflow that is not for our workers: it was told nothing. */
export class ForeignRunError extends VerbError {}

/**
 * To be called before the workflow of a key is told anything. What somebody else starts under the
 * very ID of the key between this and the signal is not noticed.
 * @returns what Temporal knows of the newest run; null where there is none under this ID, or only
 *   one of somebody else that has ended
 * @throws ForeignRunError for one that is not ours and goes on, another VerbError where Temporal
 *   can't be asked
 */
export async function ownRun(
  client: Client,
  config: Config,
  key: KeyWorkflow,
): Promise<WorkflowExecutionDescription | null> {
  const run = await handleOf(client, key)
    .describe()
    .catch((error: unknown) => {
      if (error instanceof WorkflowNotFoundError) return null;
      throw explainMissing(error, key);
    });
  if (run === null) return null;
  const foreign = foreignRunOf(run, config.temporal.taskQueue);
  if (foreign === null) return run;
  const { workflowId } = key;
  if (run.status.name !== 'RUNNING') return foreign.type === WORKFLOW_TYPE ? run : null;
  if (foreign.type === WORKFLOW_TYPE) {
    const whose = await whoseQueue(client, config, { ...foreign, workflowId });
    throw new ForeignRunError(
      `${workflowId} is not for the workers of this configuration, and was told nothing: ${whose}`,
    );
  }
  throw new ForeignRunError(
    `${workflowId} is a workflow of type ${foreign.type} on task queue ${foreign.taskQueue}, not one of keymend: it was told ` +
      `nothing, and nobody repairs this key. Give keymend a Temporal namespace of its own, or link ${key.link.name} a workflowIdPrefix`,
  );
}

/**
 * Sends a signal to the workflow of a key.
 * @returns what the workflow says of itself afterwards
 * @throws VerbError when there is none of ours, or when nobody takes what it was told
 */
export async function tell<Args extends unknown[]>(
  client: Client,
  config: Config,
  key: KeyWorkflow,
  signal: SignalDefinition<Args>,
  ...args: Args
): Promise<KeyStatus> {
  const run = await ownRun(client, config, key);
  if (run?.status.name !== 'RUNNING') throw await notOnItsOwn(client, config, key, run);
  await handleOf(client, key)
    .signal(signal, ...args)
    .catch((error: unknown) => {
      throw explainMissing(error, key, run);
    });
  return expectAnswer(client, config, key.workflowId);
}

/** Why nobody can be told about a key that has no workflow of its own. */
async function notOnItsOwn(
  client: Client,
  config: Config,
  key: KeyWorkflow,
  ended: WorkflowExecutionDescription | null,
): Promise<Error> {
  const sought = { taskQueue: config.temporal.taskQueue, link: key.link.name, key: key.key };
  const { found, doubt } = await findInBatches(client, sought);
  if (found === null) return nothingUnderWay(key, ended, doubt);
  return new VerbError(
    `key ${keyText(key.key)} of link ${key.link.name} travels in batch ${found.workflowId}, which tries it by itself and takes ` +
      'no word about one key: nothing was told to anybody. `keymend reconcile KEY` looks at it now',
  );
}
