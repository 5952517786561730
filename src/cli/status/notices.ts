/** What `keymend status` says of webhooks that take nothing: nobody hears of what happens. */
import type { Client } from '@temporalio/client';
import { NOTICES_TYPE, type NoticesStatus, status } from '../../../workflows/notices-messages.js';
import type { Config } from '../../config.js';
import { counted } from '../../plural.js';
import { underWay } from './under-way.js';

interface FailingWebhook {
  readonly link: string;
  readonly workflowId: string;
  /** ISO 8601, UTC. */
  readonly since: string;
  readonly reason: string;
  /** Messages that wait. */
  readonly waiting: number;
}

export interface NoticesReport {
  readonly failing: readonly FailingWebhook[];
  /** Why more is not known; null: all is. */
  readonly problem: string | null;
}

/** @param client an Error where Temporal does not answer */
export async function noticesReport(client: Client | Error, config: Config): Promise<NoticesReport> {
  if (config.links.every(({ escalation }) => escalation.webhook === undefined)) return { failing: [], problem: null };
  const { answers, problem } = await underWay<NoticesStatus>(client, config, { type: NOTICES_TYPE, status });
  const failing = answers.flatMap(({ link, workflowId, failing, waiting }) =>
    failing === null ? [] : [{ link, workflowId, ...failing, waiting: waiting.length }],
  );
  return { failing, problem };
}

/** Lines for a person; none where every webhook takes what it is sent, as far as is known. */
export function describeNotices({ failing, problem }: NoticesReport): string[] {
  return [
    ...failing.flatMap(({ link, workflowId, since, reason, waiting }) => [
      `link ${link}: ${reason}; nobody is told since ${since}, and ${counted(waiting, 'message waits', 'messages wait')}`,
      `  once it is mended: temporal workflow signal --workflow-id ${workflowId} --name retry`,
    ]),
    ...(problem === null ? [] : [`what is known of webhooks is incomplete: ${problem}`]),
  ];
}
