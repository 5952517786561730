/** What `keymend status` says of servers of a target that do not answer. */
import type { Client } from '@temporalio/client';
import { OUTAGE_TYPE, type OutageStatus, status } from '../../workflows/outage-messages.js';
import type { Config } from '../config.js';
import { counted } from '../plural.js';
import { errorText } from '../temporal/error-text.js';

interface OutageReport extends Pick<OutageStatus, 'since' | 'reason' | 'keysWaiting'> {
  readonly link: string;
  readonly shard: string;
  readonly workflowId: string;
}

/** What is under way. What is listed lags behind by about a second. */
export interface OutagesReport {
  readonly outages: readonly OutageReport[];
  /** Why more is not known; null: all is. */
  readonly problem: string | null;
}

const TIMEOUT_MS = 5_000;

/** @param client an Error where Temporal does not answer */
export async function outagesReport(client: Client | Error, { temporal }: Config): Promise<OutagesReport> {
  if (client instanceof Error) return { outages: [], problem: client.message };
  const outages: OutageReport[] = [];
  try {
    await client.withDeadline(Date.now() + TIMEOUT_MS, async () => {
      const query = `WorkflowType = "${OUTAGE_TYPE}" AND TaskQueue = "${temporal.taskQueue}" AND ExecutionStatus = "Running"`;
      for await (const { workflowId } of client.workflow.list({ query })) {
        const { link, shard, since, reason, keysWaiting } = await client.workflow.getHandle(workflowId).query(status);
        outages.push({ link, shard, since, reason, keysWaiting, workflowId });
      }
    });
    return { outages, problem: null };
  } catch (error) {
    return { outages, problem: errorText(error) };
  }
}

/** Lines for a person; none where nothing is known to be out. */
export function describeOutages({ outages, problem }: OutagesReport): string[] {
  return [
    ...outages.map(
      ({ link, shard, since, reason, keysWaiting }) =>
        `${shard} of link ${link} has not answered since ${since} (${reason}): about ${counted(keysWaiting, 'key')} wait for it`,
    ),
    ...(problem === null ? [] : [`which servers do not answer is not known: ${problem}`]),
  ];
}
