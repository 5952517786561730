/** Keys as Temporal lists them: no workflow is asked. */
import type { Client, WorkflowExecutionInfo } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { SEARCH_ATTRIBUTES } from '../../../workflows/messages.js';
import { searchAttributes } from '../../temporal/search-attributes.js';
import type { Listed } from '../answers.js';
import { VerbError } from '../context.js';
import type { EscalatedQuery } from './query.js';

const LINK = defineSearchAttributeKey(SEARCH_ATTRIBUTES.link, 'KEYWORD');
const STATE = defineSearchAttributeKey(SEARCH_ATTRIBUTES.state, 'KEYWORD');
const ERROR = defineSearchAttributeKey(SEARCH_ATTRIBUTES.error, 'KEYWORD');

export interface KeyRow extends Listed {
  readonly runId: string;
  readonly isEscalated: boolean;
  readonly startTime: Date;
  /** null: its workflow does not show it. */
  readonly link: string | null;
  readonly error: string | null;
}

/** @param pageSize how many are asked for at once */
export async function* rows(client: Client, query: string, pageSize = 1_000): AsyncGenerator<KeyRow> {
  for await (const run of client.workflow.list({ query, pageSize })) yield rowOf(run);
}

/** So many tell what the others are like. */
export const SAMPLE = 100;

export async function firstRows(client: Client, query: string, most: number): Promise<KeyRow[]> {
  const found: KeyRow[] = [];
  for await (const row of rows(client, query, most)) if (found.push(row) === most) break;
  return found;
}

/**
 * The workflows of escalated keys, each once, also while they are told something. Visibility lags
 * behind the workflows by about a second.
 * @throws VerbError when Temporal can't be searched for them
 */
export async function* escalatedRows(client: Client, escalated: EscalatedQuery): AsyncGenerator<KeyRow> {
  await expectAttributes(client, escalated);
  for await (const row of rows(client, escalated.query)) if (escalated.matches(row.workflowId)) yield row;
}

function rowOf({ workflowId, runId, taskQueue, startTime, typedSearchAttributes }: WorkflowExecutionInfo): KeyRow {
  const shown = (key: typeof LINK) => typedSearchAttributes.get(key) ?? null;
  const isEscalated = shown(STATE) === 'escalated';
  return { workflowId, runId, taskQueue, startTime, link: shown(LINK), error: shown(ERROR), isEscalated };
}

/**
 * Without them a search finds nothing, or is refused.
 * @throws VerbError that says what is wrong and what to do
 */
export async function expectAttributes(client: Client, { attributes }: EscalatedQuery): Promise<void> {
  const { usable, problem } = await searchAttributes(client.connection, client.options.namespace);
  if (attributes.every((name) => usable.includes(SEARCH_ATTRIBUTES[name]))) return;
  throw new VerbError(`escalated keys can't be found: ${problem}. What is escalated then is found after its next try`);
}
