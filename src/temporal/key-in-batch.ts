/** Whether a key that has no workflow of its own travels in a batch: the batches are asked. */
import type { Client } from '@temporalio/client';
import { BATCH_TYPE, type BatchStatus, type KeyInBatch, keyStatus, status } from '../../workflows/batch-messages.js';
import type { EncodedKey, KeyStatus } from '../../workflows/messages.js';
import { errorText } from './error-text.js';
import { openRuns } from './quoted.js';

export interface SoughtKey {
  readonly taskQueue: string;
  readonly link: string;
  readonly key: EncodedKey;
}

export interface FoundInBatch {
  readonly key: KeyInBatch;
  readonly batch: BatchStatus;
  readonly workflowId: string;
  readonly runId: string;
}

interface Search {
  /** null: in none of those that answered. */
  readonly found: FoundInBatch | null;
  /** Why it may be in one all the same; null: it is in none. */
  readonly doubt: string | null;
}

/** To ask one may make a worker read its whole history. */
const MOST_ASKED = 20;
const TIMEOUT_MS = 5_000;

export async function findInBatches(client: Client, { taskQueue, link, key }: SoughtKey): Promise<Search> {
  const query = openRuns(BATCH_TYPE, taskQueue);
  try {
    return await client.withDeadline(Date.now() + TIMEOUT_MS, async () => {
      const open: { workflowId: string; runId: string }[] = [];
      for await (const { workflowId, runId, memo } of client.workflow.list({ query }))
        if (memo?.link === link) open.push({ workflowId, runId });
      const asked = open.slice(0, MOST_ASKED);
      const answers = await Promise.all(asked.map((run) => ask(client, run, key).catch(() => 'unanswered' as const)));
      const found = answers.find((answer) => answer !== null && answer !== 'unanswered') ?? null;
      const unknown = open.length - asked.length + answers.filter((answer) => answer === 'unanswered').length;
      return { found, doubt: unknown === 0 ? null : doubtOf(unknown, link) };
    });
  } catch (error) {
    return { found: null, doubt: `whether a batch has it is not known: ${errorText(error)}` };
  }
}

/** As a workflow of the key itself would say it. */
export function statusInBatch({ link, key }: SoughtKey, { key: inBatch, batch }: FoundInBatch): KeyStatus {
  const { state, outage, lastError } = batch;
  return {
    ...key,
    ...inBatch,
    link,
    state,
    outage,
    lastError: inBatch.attempts > 0 ? lastError : null,
    lastOutcome: null,
    skipReason: null,
  };
}

function doubtOf(batches: number, link: string): string {
  return batches === 1
    ? `a batch of link ${link} is open and did not say what it has: the key may be in it`
    : `${batches} batches of link ${link} are open and did not say what they have: the key may be in one`;
}

async function ask(
  client: Client,
  { workflowId, runId }: { workflowId: string; runId: string },
  encoded: EncodedKey,
): Promise<FoundInBatch | null> {
  const handle = client.workflow.getHandle(workflowId, runId);
  const key = await handle.query(keyStatus, encoded);
  return key === null ? null : { key, batch: await handle.query(status), workflowId, runId };
}
