/** What `keymend status` says of the failed writes that a link is known to have lost. */
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { GAP_TYPE, type GapStatus, gapWorkflowId, status } from '../../../workflows/gap-messages.js';
import { foreignRunOf } from '../../bridge/runs/own-runs.js';
import type { Config } from '../../config.js';

export interface GapReport extends Pick<GapStatus, 'gaps' | 'more' | 'records'> {
  readonly workflowId: string;
  /** Why more is not known; null: all is. */
  readonly problem: string | null;
}

/** Of each link by name: what is open; null: nothing is. */
export type GapReports = ReadonlyMap<string, GapReport | null>;

const QUERY_TIMEOUT_MS = 10_000;

/** @param client an Error where Temporal does not answer: then the reports say so */
export async function gapReports(client: Client | Error, { links, temporal }: Config): Promise<GapReports> {
  const { taskQueue } = temporal;
  const reports = links.map(async ({ name }) => {
    return [name, client instanceof Error ? unknown(name, client) : await gapReport(client, taskQueue, name)] as const;
  });
  return new Map(await Promise.all(reports));
}

async function gapReport(client: Client, taskQueue: string, link: string): Promise<GapReport | null> {
  const workflowId = gapWorkflowId(link);
  const handle = client.workflow.getHandle(workflowId);
  let isOpen = false;
  try {
    const description = await handle.describe();
    if (description.status.name !== 'RUNNING') return null;
    const foreign = foreignRunOf(description, taskQueue, GAP_TYPE);
    if (foreign !== null) {
      const problem = `is a workflow of type ${foreign.type} on task queue ${foreign.taskQueue}, not one of this configuration: what this link loses can't be told`;
      return { workflowId, gaps: [], more: 0, records: null, problem };
    }
    isOpen = true;
    const { gaps, more, records } = await client.withDeadline(Date.now() + QUERY_TIMEOUT_MS, () =>
      handle.query(status),
    );
    return { workflowId, gaps, more, records, problem: null };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError && !isOpen) return null;
    const report = unknown(link, error as Error);
    const reason = firstLine(error as Error);
    return isOpen
      ? { ...report, problem: `is open, but nobody answers for it (${reason}); is a worker running?` }
      : report;
  }
}

function unknown(link: string, error: Error): GapReport {
  const problem = `can't be asked: ${firstLine(error)}`;
  return { workflowId: gapWorkflowId(link), gaps: [], more: 0, records: null, problem };
}

function firstLine({ message }: Error): string {
  return message.split('\n')[0]!;
}

/** Lines for a person; none where nothing is open. */
export function describeGap(report: GapReport | null): string[] {
  if (report === null) return [];
  const { workflowId, gaps, more, records, problem } = report;
  if (problem !== null) return [`failed writes may be lost: ${workflowId} ${problem}`];
  return [
    `failed writes are lost${records === null ? '' : `, at most ${records}`}: keys may differ, and nothing repairs them`,
    ...gaps.map(({ noticedAt, message }) => `  ${noticedAt} ${message}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
    '  `keymend sweep --repair` mends what differs; a sweep that finds both sides equal closes this',
    `  to close it by hand: temporal workflow signal --workflow-id ${workflowId} --name acknowledge --input '{"reason":"…"}'`,
  ];
}
