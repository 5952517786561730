/** `keymend escalations`, and the list of escalated workflows that `retry --escalated` shares. */
import type { Client } from '@temporalio/client';
import { Command } from 'commander';
import pMap from 'p-map';
import { nextStep } from '../../workflows/errors.js';
import { type KeyStatus, SEARCH_ATTRIBUTES, status, WORKFLOW_TYPE } from '../../workflows/messages.js';
import { globalOptions, print, withClient } from './context.js';

const CONCURRENCY = 16;

type Escalation =
  | (KeyStatus & { readonly workflowId: string; readonly nextStep: string })
  /** No worker answered for it. */
  | { readonly workflowId: string; readonly unanswered: string };

export function escalationsCommand(): Command {
  return new Command('escalations')
    .description('List the keys that were given up on for now: why, since when, and what to do')
    .option('-l, --link <name>', 'only those of one link')
    .action(async (options: { link?: string }, command: Command) => {
      const global = globalOptions(command);
      await withClient(global, async (client) => {
        const escalations = await pMap(escalatedIds(client, options.link), (id) => ask(client, id), {
          concurrency: CONCURRENCY,
        });
        print(global, escalations, () => escalations.map(describe).join('\n') || 'no key is escalated');
      });
    });
}

/** The workflow IDs of escalated keys. Visibility lags behind the workflows by about a second. */
export async function* escalatedIds(client: Client, link: string | undefined): AsyncGenerator<string> {
  const clauses = [
    `WorkflowType = "${WORKFLOW_TYPE}"`,
    'ExecutionStatus = "Running"',
    `${SEARCH_ATTRIBUTES.state} = "escalated"`,
  ];
  if (link !== undefined) clauses.push(`${SEARCH_ATTRIBUTES.link} = "${link.replace(/["\\]/g, '')}"`);
  for await (const { workflowId } of client.workflow.list({ query: clauses.join(' AND ') })) yield workflowId;
}

async function ask(client: Client, workflowId: string): Promise<Escalation> {
  try {
    const answer = await client.withDeadline(Date.now() + 10_000, () =>
      client.workflow.getHandle(workflowId).query(status),
    );
    return { ...answer, workflowId, nextStep: nextStep(answer.lastError?.type ?? '') };
  } catch (error) {
    return { workflowId, unanswered: (error as Error).message.split('\n')[0]! };
  }
}

function describe(escalation: Escalation): string {
  if ('unanswered' in escalation) return `${escalation.workflowId}  (nobody answers: ${escalation.unanswered})`;
  const { key, link, firstFailedAt, attempts, lastError } = escalation;
  const since = firstFailedAt === null ? '' : `, failing since ${firstFailedAt}`;
  return [
    `${key}  (link ${link}${since}, attempts: ${attempts})`,
    `    ${lastError?.type}: ${lastError?.message}`,
    `    ${escalation.nextStep}`,
  ].join('\n');
}
