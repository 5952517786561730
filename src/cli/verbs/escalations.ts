/** `keymend escalations`, and the list of escalated workflows that `retry --escalated` shares. */
import type { Client } from '@temporalio/client';
import pMap from 'p-map';
import { nextStep } from '../../../workflows/error-types.js';
import { type KeyStatus, SEARCH_ATTRIBUTES, WORKFLOW_TYPE } from '../../../workflows/messages.js';
import type { Config } from '../../config.js';
import { searchAttributes } from '../../temporal/search-attributes.js';
import { askStatus, type Listed, type Unanswered } from '../answers.js';
import { withClient } from '../configured.js';
import { chooseLink, type GlobalOptions, print, VerbError } from '../context.js';

const CONCURRENCY = 16;

type Escalation =
  | (KeyStatus & {
      readonly workflowId: string;
      readonly nextStep: string;
      /** ISO 8601: of the first failed write, else when somebody began to ask for the key. */
      readonly since: string;
    })
  | (Unanswered & { readonly workflowId: string });

export async function escalations({ link }: { link?: string }, global: GlobalOptions): Promise<void> {
  await withClient(global, async (client, config) => {
    const listed = escalatedKeys(client, config, link);
    const answered = (key: ListedRun) => ask(client, config, key);
    const answers = await pMap(listed, answered, { concurrency: CONCURRENCY });
    const nothing = `no key is escalated${link === undefined ? '' : ` of link ${link}`}`;
    print(global, answers, () => (answers.length === 0 ? [nothing] : answers.flatMap(describe)));
  });
}

interface ListedRun extends Listed {
  readonly startTime: Date;
}

/**
 * The workflows of escalated keys. Visibility lags behind the workflows by about a second.
 * @throws VerbError when the configuration has no such link, or Temporal can't be searched for them
 */
export async function* escalatedKeys(
  client: Client,
  config: Config,
  link: string | undefined,
): AsyncGenerator<ListedRun> {
  const name = link === undefined ? undefined : chooseLink(config, link).name;
  await expectAttributes(client, name === undefined ? ['state'] : ['state', 'link']);
  const clauses = [
    `WorkflowType = "${WORKFLOW_TYPE}"`,
    'ExecutionStatus = "Running"',
    `${SEARCH_ATTRIBUTES.state} = "escalated"`,
  ];
  if (name !== undefined) clauses.push(`${SEARCH_ATTRIBUTES.link} = "${name}"`);
  for await (const { workflowId, taskQueue, startTime } of client.workflow.list({ query: clauses.join(' AND ') })) {
    yield { workflowId, taskQueue, startTime };
  }
}

/**
 * Without them a search finds nothing, or is refused.
 * @throws VerbError that says what is wrong and what to do
 */
async function expectAttributes(client: Client, wanted: (keyof typeof SEARCH_ATTRIBUTES)[]): Promise<void> {
  const { usable, problem } = await searchAttributes(client.connection, client.options.namespace);
  if (wanted.every((name) => usable.includes(SEARCH_ATTRIBUTES[name]))) return;
  throw new VerbError(`escalated keys can't be found: ${problem}. What is escalated then is found after its next try`);
}

async function ask(client: Client, config: Config, { workflowId, startTime }: ListedRun): Promise<Escalation> {
  const answer = await askStatus(client, config, workflowId);
  if ('unanswered' in answer) return { workflowId, ...answer };
  const since = answer.firstFailedAt ?? startTime.toISOString();
  return { ...answer, workflowId, nextStep: nextStep(answer.lastError?.type ?? ''), since };
}

function describe(escalation: Escalation): string[] {
  if ('unanswered' in escalation) return [`${escalation.workflowId}  (${escalation.unanswered})`];
  const { key, link, firstFailedAt, since, attempts, lastError } = escalation;
  const what = firstFailedAt === null ? 'asked for' : 'failing';
  return [
    `${key}  (link ${link}, ${what} since ${since}, attempts: ${attempts})`,
    `    ${lastError?.type}: ${lastError?.message}`,
    `    ${escalation.nextStep}`,
  ];
}
