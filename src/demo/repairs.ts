/** What Temporal knows of the repairs of this run. */
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import pMap from 'p-map';
import { BATCH_TYPE, type BatchStatus } from '../../workflows/batch-messages.js';
import {
  type Outcome,
  type ReconcileKeyResult,
  retry,
  SEARCH_ATTRIBUTES,
  WORKFLOW_TYPE,
} from '../../workflows/messages.js';

export interface Repairs {
  readonly running: number;
  readonly closed: number;
  readonly escalated: number;
}

/** A batch of keys that has ended: while the target's server does not answer, many go together. */
export interface ClosedBatch {
  readonly repaired: number;
}

export interface ClosedRepair {
  readonly workflowId: string;
  readonly closedAt: number;
  readonly outcome: Outcome;
}

const ESCALATED = `ExecutionStatus = "Running" AND ${SEARCH_ATTRIBUTES.state} = "escalated"`;

const query = (since: Date, clause: string, type: string = WORKFLOW_TYPE) =>
  `WorkflowType = "${type}" AND StartTime >= "${since.toISOString()}" AND ${clause}`;

/** Counts the workflows that started at or after `since`. */
export async function countRepairs(client: Client, since: Date): Promise<Repairs> {
  const count = async (clause: string) => (await client.workflow.count(query(since, clause))).count;
  const [running, closed, escalated] = await Promise.all([
    count('ExecutionStatus = "Running"'),
    count('ExecutionStatus != "Running"'),
    count(ESCALATED),
  ]);
  return { running, closed, escalated };
}

/**
 * Tries every key again that is given up on for now, as `keymend retry --escalated` does.
 * @returns how many
 */
export async function retryEscalated(client: Client, since: Date): Promise<number> {
  let retried = 0;
  for await (const { workflowId } of client.workflow.list({ query: query(since, ESCALATED) })) {
    try {
      await client.workflow.getHandle(workflowId).signal(retry);
      retried += 1;
    } catch (error) {
      // It healed since it was listed.
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    }
  }
  return retried;
}

/** The repairs that have ended, with their outcomes. */
export async function closedRepairs(client: Client, since: Date): Promise<ClosedRepair[]> {
  return pMap(
    client.workflow.list({ query: query(since, 'ExecutionStatus = "Completed"') }),
    async ({ workflowId, runId, closeTime }) => {
      const result = (await client.workflow.getHandle(workflowId, runId).result()) as ReconcileKeyResult;
      return { workflowId, closedAt: closeTime!.getTime(), outcome: result.outcome };
    },
    { concurrency: 16 },
  );
}

export async function closedBatches(client: Client, since: Date): Promise<ClosedBatch[]> {
  return pMap(
    client.workflow.list({ query: query(since, 'ExecutionStatus = "Completed"', BATCH_TYPE) }),
    async ({ workflowId, runId }) => (await client.workflow.getHandle(workflowId, runId).result()) as BatchStatus,
    { concurrency: 16 },
  );
}
