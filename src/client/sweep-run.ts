/** A full comparison of a link that was started, or joined, by another service. */
import type { Client, WorkflowHandle } from '@temporalio/client';
import type { sweep } from '../../workflows/sweep.js';
import {
  progress,
  SWEEP_TYPE,
  type SweepOptions,
  type SweepProgress,
  type SweepResult,
  sweepWorkflowId,
} from '../../workflows/sweep-messages.js';
import { foreignRunOf } from '../bridge/runs/own-runs.js';
import type { LinkAttribute } from '../temporal/link-attribute.js';
import { startSweep } from '../temporal/sweeps.js';
import { KeymendClientError } from './failure.js';

export interface SweepRun {
  readonly workflowId: string;
  /** One was under way; it may have been asked for something else: see `progress().options`. */
  readonly isJoined: boolean;
  /** How far it is. Rejects where no worker answers. */
  progress(): Promise<SweepProgress>;
  /**
   * Resolves at its end, however long that takes.
   * @throws WorkflowFailedError where it was cancelled, or has failed
   */
  result(): Promise<SweepResult>;
}

export interface SweepStarting {
  readonly client: Client;
  readonly taskQueue: string;
  readonly attribute: LinkAttribute;
  /** Asks what only a worker can answer. */
  readonly answer: <T>(workflowId: string, ask: () => Promise<T>) => Promise<T>;
}

/** Asked by several at once, it is one. @throws KeymendClientError `WorkflowIdTaken` */
export async function sweepOf(
  { client, taskQueue, attribute, answer }: SweepStarting,
  link: { readonly name: string; readonly settle: number },
  options: SweepOptions,
): Promise<SweepRun> {
  const started = await startSweep({ client: client.workflow, taskQueue, attribute }, link, options);
  const handle = started ?? (await joined(client, taskQueue, link.name));
  const { workflowId } = handle;
  // A long one goes on as another run, which the handle of the one that was joined does not ask.
  const now = client.workflow.getHandle<typeof sweep>(workflowId);
  return {
    workflowId,
    isJoined: started === null,
    progress: () => answer(workflowId, () => now.query(progress)),
    result: () => handle.result(),
  };
}

async function joined(client: Client, taskQueue: string, link: string): Promise<WorkflowHandle<typeof sweep>> {
  const handle = client.workflow.getHandle<typeof sweep>(sweepWorkflowId(link));
  const run = await handle.describe();
  const foreign = foreignRunOf(run, taskQueue, SWEEP_TYPE);
  if (foreign === null) return client.workflow.getHandle(handle.workflowId, run.runId);
  throw new KeymendClientError(
    'WorkflowIdTaken',
    `${handle.workflowId} is a workflow of type ${foreign.type} on task queue ${foreign.taskQueue}, not a sweep of keymend on ${taskQueue}`,
  );
}
