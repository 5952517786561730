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
  try {
    return await client.withDeadline(Date.now() + TIMEOUT_MS, async () => {
      const query = `WorkflowType = "${OUTAGE_TYPE}" AND TaskQueue = "${temporal.taskQueue}" AND ExecutionStatus = "Running"`;
      const open: string[] = [];
      for await (const { workflowId } of client.workflow.list({ query })) open.push(workflowId);
      return asked(client, open);
    });
  } catch (error) {
    return { outages: [], problem: errorText(error) };
  }
}

/** One that nobody answers for is there all the same. */
async function asked(client: Client, open: readonly string[]): Promise<OutagesReport> {
  const answers = await Promise.all(
    open.map(async (workflowId) => {
      try {
        const { link, shard, since, reason, keysWaiting } = await client.workflow.getHandle(workflowId).query(status);
        return { link, shard, since, reason, keysWaiting, workflowId };
      } catch (error) {
        return `${workflowId} is open, but nobody answers for it (${errorText(error)}); is a worker running?`;
      }
    }),
  );
  const problems = answers.filter((answer) => typeof answer === 'string');
  const outages = answers.filter((answer) => typeof answer !== 'string');
  return { outages, problem: problems.length === 0 ? null : problems.join('; ') };
}

/** Lines for a person; none where nothing is known to be out. */
export function describeOutages({ outages, problem }: OutagesReport): string[] {
  return [
    ...outages.map(
      ({ link, shard, since, reason, keysWaiting }) =>
        `${shard} of link ${link} has not answered since ${since} (${reason}): about ${counted(keysWaiting, 'key waits', 'keys wait')} for it`,
    ),
    ...(problem === null ? [] : [`what is known of servers that do not answer is incomplete: ${problem}`]),
  ];
}
