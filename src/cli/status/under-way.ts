/** What workflows of ours that are under way say of themselves. */
import type { Client } from '@temporalio/client';
import type { QueryDefinition } from '@temporalio/common';
import type { Config } from '../../config.js';
import { errorText } from '../../temporal/error-text.js';
import { openRuns } from '../../temporal/quoted.js';

interface UnderWay<Status> {
  /** What is listed lags behind by about a second. */
  readonly running: number;
  /** How many of them each link has, where their memo names it. */
  readonly byLink: ReadonlyMap<string, number>;
  readonly answers: readonly (Status & { readonly workflowId: string })[];
  /** Why more is not known; null: all is. */
  readonly problem: string | null;
}

const TIMEOUT_MS = 5_000;

/**
 * Asks those of one type; one that nobody answers for is there all the same.
 * @param client an Error where Temporal does not answer
 * @param most is asked; the others are only counted
 */
export async function underWay<Status>(
  client: Client | Error,
  { temporal }: Config,
  { type, status, most = Number.POSITIVE_INFINITY }: { type: string; status: QueryDefinition<Status>; most?: number },
): Promise<UnderWay<Status>> {
  if (client instanceof Error) return { running: 0, byLink: new Map(), answers: [], problem: client.message };
  try {
    return await client.withDeadline(Date.now() + TIMEOUT_MS, async () => {
      const query = openRuns(type, temporal.taskQueue);
      const begun: string[] = [];
      const byLink = new Map<string, number>();
      let running = 0;
      for await (const { workflowId, executionTime, memo } of client.workflow.list({ query })) {
        running += 1;
        const link = memo?.link;
        if (typeof link === 'string') byLink.set(link, (byLink.get(link) ?? 0) + 1);
        // What settles before it begins has nothing to say yet.
        if (executionTime === undefined || executionTime.getTime() <= Date.now()) begun.push(workflowId);
      }
      const said = await Promise.all(begun.slice(0, most).map((workflowId) => ask(client, workflowId, status)));
      const problems = said.filter((answer) => typeof answer === 'string');
      const answers = said.filter((answer) => typeof answer !== 'string');
      return { running, byLink, answers, problem: inOne(problems) };
    });
  } catch (error) {
    return { running: 0, byLink: new Map(), answers: [], problem: errorText(error) };
  }
}

/** Where no worker runs, each of many would say the same. */
function inOne([first, ...others]: readonly string[]): string | null {
  if (first === undefined) return null;
  return others.length === 0 ? first : `${first} (and ${others.length} more)`;
}

async function ask<Status>(client: Client, workflowId: string, status: QueryDefinition<Status>) {
  try {
    return { ...(await client.workflow.getHandle(workflowId).query(status)), workflowId };
  } catch (error) {
    return `${workflowId} is open, but nobody answers for it (${errorText(error)}); is a worker running?`;
  }
}
