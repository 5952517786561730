/** How a sweep is started: by a person, or by its schedule. */
import { type WorkflowClient, WorkflowExecutionAlreadyStartedError, type WorkflowHandle } from '@temporalio/client';
import type { sweep } from '../../workflows/sweep.js';
import {
  askedOf,
  SWEEP_TYPE,
  type SweepMemo,
  type SweepOptions,
  sweepWorkflowId,
} from '../../workflows/sweep-messages.js';
import type { LinkConfig } from '../config.js';
import type { LinkAttribute } from './link-attribute.js';

interface Starting {
  readonly client: WorkflowClient;
  readonly taskQueue: string;
  readonly attribute: LinkAttribute;
}

/** @returns null when one is under way */
export async function startSweep(
  { client, taskQueue, attribute }: Starting,
  link: Pick<LinkConfig, 'name' | 'settle'>,
  options: SweepOptions,
): Promise<WorkflowHandle<typeof sweep> | null> {
  try {
    return await attribute.starting(link.name, (attributes) =>
      client.start<typeof sweep>(SWEEP_TYPE, {
        workflowId: sweepWorkflowId(link.name),
        taskQueue,
        args: [{ link: link.name, settleMs: link.settle, options }],
        memo: { options: askedOf(options) } satisfies SweepMemo,
        ...attributes,
      }),
    );
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return null;
    throw error;
  }
}
