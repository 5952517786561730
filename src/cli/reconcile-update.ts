/** The update `reconcileNow`, which starts the workflow of a key where none is under way. */
import { type Client, WithStartWorkflowOperation } from '@temporalio/client';
import { type RetryRequest, reconcileNow, WORKFLOW_TYPE } from '../../workflows/messages.js';
import type { reconcileKey } from '../../workflows/reconcile-key.js';
import { startOptions } from '../bridge/start-options.js';
import type { Config } from '../config.js';
import { keyBytes } from '../events/failed-write-codec.js';
import { LinkAttribute } from '../temporal/link-attribute.js';
import { whoIsMissing } from './answers.js';
import { report } from './context.js';
import { handleOf, type KeyWorkflow } from './key-workflow.js';

/** How long a worker has to take it. */
export const ACCEPTANCE_MS = 15_000;
/**
 * How long a person's word about a delete holds until a worker hears it; more than the acceptance,
 * for clocks that differ.
 */
const VOUCHED_MS = 60_000;

const attribute = new LinkAttribute({ warn: report, info() {} });

/** Resolves when a worker has taken it. */
export function startUpdate(client: Client, config: Config, { link, key }: KeyWorkflow, request: RetryRequest) {
  return attribute.starting(link.name, (attributes) => {
    const startWorkflowOperation = new WithStartWorkflowOperation<typeof reconcileKey>(WORKFLOW_TYPE, {
      ...startOptions(link, keyBytes(key), config.temporal.taskQueue),
      ...attributes,
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
    return client.workflow.startUpdateWithStart(reconcileNow, {
      args: [request.allowDelete ? { ...request, before: new Date(Date.now() + VOUCHED_MS).toISOString() } : request],
      waitForStage: 'ACCEPTED',
      startWorkflowOperation,
    });
  });
}

/** Who does not answer. A workflow that nobody has begun yet is on the task queue of this one. */
export async function missing(client: Client, config: Config, key: KeyWorkflow): Promise<string> {
  const description = await client
    .withDeadline(Date.now() + ACCEPTANCE_MS, () => handleOf(client, key).describe())
    .catch(() => null);
  return whoIsMissing(description?.taskQueue ?? config.temporal.taskQueue, config);
}
