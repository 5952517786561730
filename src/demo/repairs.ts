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
import { KEY_PREFIX } from './application.js';

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

/** Whose repairs: a Temporal that was given may have those of others. */
export interface RunOfDemo {
  readonly client: Client;
  readonly taskQueue: string;
  /** They started at that time or later. */
  readonly since: Date;
}

const RUNNING = 'ExecutionStatus = "Running"';
const COMPLETED = 'ExecutionStatus = "Completed"';
const ESCALATED = `${RUNNING} AND ${SEARCH_ATTRIBUTES.state} = "escalated"`;

const query = ({ taskQueue, since }: RunOfDemo, type: string, clause: string) =>
  `WorkflowType = "${type}" AND TaskQueue = "${taskQueue}" AND StartTime >= "${since.toISOString()}" AND ${clause}`;

const ofKeys = (run: RunOfDemo, clause: string) =>
  query(run, WORKFLOW_TYPE, `WorkflowId STARTS_WITH "${KEY_PREFIX}" AND ${clause}`);

export async function countRepairs(run: RunOfDemo): Promise<Repairs> {
  const count = async (clause: string) => (await run.client.workflow.count(ofKeys(run, clause))).count;
  const [running, closed, escalated] = await Promise.all([
    count(RUNNING),
    count('ExecutionStatus != "Running"'),
    count(ESCALATED),
  ]);
  return { running, closed, escalated };
}

/**
 * Tries every key again that is given up on for now, as `keymend retry --escalated` does.
 * @returns how many
 */
export async function retryEscalated(run: RunOfDemo): Promise<number> {
  const { client } = run;
  let retried = 0;
  for await (const { workflowId } of client.workflow.list({ query: ofKeys(run, ESCALATED) })) {
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
export async function closedRepairs(run: RunOfDemo): Promise<ClosedRepair[]> {
  const { client } = run;
  return pMap(
    client.workflow.list({ query: ofKeys(run, COMPLETED) }),
    async ({ workflowId, runId, closeTime }) => {
      const result = (await client.workflow.getHandle(workflowId, runId).result()) as ReconcileKeyResult;
      return { workflowId, closedAt: closeTime!.getTime(), outcome: result.outcome };
    },
    { concurrency: 16 },
  );
}

export async function closedBatches(run: RunOfDemo): Promise<ClosedBatch[]> {
  const { client } = run;
  return pMap(
    client.workflow.list({ query: query(run, BATCH_TYPE, COMPLETED) }),
    async ({ workflowId, runId }) => (await client.workflow.getHandle(workflowId, runId).result()) as BatchStatus,
    { concurrency: 16 },
  );
}

/** Repairs of an earlier run that was broken off would go on with the keys of this one. */
export async function endRepairs(client: Client, taskQueue: string): Promise<void> {
  const query = ofKeys({ client, taskQueue, since: new Date(0) }, RUNNING);
  for await (const { workflowId } of client.workflow.list({ query })) {
    await client.workflow.getHandle(workflowId).terminate('a new demo begins');
  }
}
