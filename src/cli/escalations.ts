/** `keymend escalations`, and the list of escalated workflows that `retry --escalated` shares. */
import type { Client } from '@temporalio/client';
import { Command } from 'commander';
import pMap from 'p-map';
import { nextStep } from '../../workflows/errors.js';
import { type KeyStatus, SEARCH_ATTRIBUTES, WORKFLOW_TYPE } from '../../workflows/messages.js';
import type { Config } from '../config.js';
import { askStatus, type Listed, type Unanswered } from './answers.js';
import { chooseLink, globalOptions, print, withClient } from './context.js';

const CONCURRENCY = 16;

type Escalation =
  | (KeyStatus & { readonly workflowId: string; readonly nextStep: string })
  | (Unanswered & { readonly workflowId: string });

export function escalationsCommand(): Command {
  return new Command('escalations')
    .description('List the keys that were given up on for now: why, since when, and what to do')
    .option('-l, --link <name>', 'only those of one link')
    .action(async (options: { link?: string }, command: Command) => {
      const global = globalOptions(command);
      await withClient(global, async (client, config) => {
        const listed = escalatedKeys(client, config, options.link);
        const answered = ({ workflowId }: Listed) => ask(client, config, workflowId);
        const escalations = await pMap(listed, answered, { concurrency: CONCURRENCY });
        const nothing = `no key is escalated${options.link === undefined ? '' : ` of link ${options.link}`}`;
        print(global, escalations, () => (escalations.length === 0 ? [nothing] : escalations.flatMap(describe)));
      });
    });
}

/**
 * The workflows of escalated keys. Visibility lags behind the workflows by about a second.
 * @throws VerbError when the configuration has no such link
 */
export async function* escalatedKeys(client: Client, config: Config, link: string | undefined): AsyncGenerator<Listed> {
  const name = link === undefined ? undefined : chooseLink(config, link).name;
  const clauses = [
    `WorkflowType = "${WORKFLOW_TYPE}"`,
    'ExecutionStatus = "Running"',
    `${SEARCH_ATTRIBUTES.state} = "escalated"`,
  ];
  if (name !== undefined) clauses.push(`${SEARCH_ATTRIBUTES.link} = "${name}"`);
  for await (const { workflowId, taskQueue } of client.workflow.list({ query: clauses.join(' AND ') })) {
    yield { workflowId, taskQueue };
  }
}

async function ask(client: Client, config: Config, workflowId: string): Promise<Escalation> {
  const answer = await askStatus(client, config, workflowId);
  if ('unanswered' in answer) return { workflowId, ...answer };
  return { ...answer, workflowId, nextStep: nextStep(answer.lastError?.type ?? '') };
}

function describe(escalation: Escalation): string[] {
  if ('unanswered' in escalation) return [`${escalation.workflowId}  (${escalation.unanswered})`];
  const { key, link, firstFailedAt, attempts, lastError } = escalation;
  const since = firstFailedAt === null ? '' : `, failing since ${firstFailedAt}`;
  return [
    `${key}  (link ${link}${since}, attempts: ${attempts})`,
    `    ${lastError?.type}: ${lastError?.message}`,
    `    ${escalation.nextStep}`,
  ];
}
