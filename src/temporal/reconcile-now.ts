/** The update `reconcileNow`, which starts the workflow of a key where none is under way. */
import { type Client, WithStartWorkflowOperation } from '@temporalio/client';
import { type ReconcileKeyInput, type RetryRequest, reconcileNow, WORKFLOW_TYPE } from '../../workflows/messages.js';
import type { reconcileKey } from '../../workflows/reconcile-key.js';
import type { LinkAttribute } from './link-attribute.js';

/**
 * How long a person's word about a delete holds until a worker hears it; more than the acceptance,
 * for clocks that differ.
 */
const VOUCHED_MS = 60_000;

/** How the workflow of the key is started. */
interface KeyRun {
  readonly workflowId: string;
  readonly taskQueue: string;
  readonly args: [ReconcileKeyInput];
}

/** Resolves when a worker has taken it. Asked by several at once, it is one workflow. */
export function startReconcileNow(
  client: Client,
  attribute: LinkAttribute,
  run: KeyRun,
  { allowDelete }: Pick<RetryRequest, 'allowDelete'>,
) {
  const before = new Date(Date.now() + VOUCHED_MS).toISOString();
  return attribute.starting(run.args[0].link, (attributes) => {
    const startWorkflowOperation = new WithStartWorkflowOperation<typeof reconcileKey>(WORKFLOW_TYPE, {
      ...run,
      ...attributes,
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
    return client.workflow.startUpdateWithStart(reconcileNow, {
      args: [allowDelete ? { allowDelete, before } : {}],
      waitForStage: 'ACCEPTED',
      startWorkflowOperation,
    });
  });
}
