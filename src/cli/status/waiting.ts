/**
 * What `keymend status` says of what waits. Each part has its own time: one that can't be had is
 * said in a line, and holds up none of the others.
 */
import type { Client } from '@temporalio/client';
import { pino } from 'pino';
import { SEARCH_ATTRIBUTES, type State, status, WORKFLOW_TYPE } from '../../../workflows/messages.js';
import { intakeOf } from '../../bridge/intakes.js';
import type { Config } from '../../config.js';
import { within } from '../../patience/within.js';
import { counted } from '../../plural.js';
import { openRuns } from '../../temporal/quoted.js';
import { askTemporal } from '../ask-temporal.js';
import { type EscalatedGroups, escalatedGroups } from '../escalated/groups.js';
import { inTime } from '../escalated/in-time.js';
import { rows } from '../escalated/rows.js';
import type { LinkReport } from './link-status.js';

/** null: unknown, see `problem`, which is null where all is known. */
export interface WaitingReport {
  /** By error and link. */
  readonly escalated: Omit<EscalatedGroups, 'groups'> & {
    readonly byError: readonly {
      readonly error: string | null;
      readonly link: string | null;
      readonly keys: number | null;
    }[];
    readonly problem: string | null;
  };
  /** Keys under way that are not escalated, by state, of the newest ones. */
  readonly underWay: {
    readonly asked: number;
    readonly states: Readonly<Partial<Record<State, number>>>;
    readonly problem: string | null;
  };
  /** Failed writes that no bridge has taken yet; null: they are in the outboxes alone. */
  readonly lag: { readonly group: string; readonly records: number | null; readonly problem: string | null } | null;
  /** Of a topic all records that retention has left, resolved ones too; of streams open letters. */
  readonly deadLetters: { readonly in: string; readonly count: number | null; readonly problem: string | null };
}

const PART_MS = 2_500;
const GROUPS_MS = 1_200;
/** Each costs its worker a task. */
const MOST_ASKED = 20;

/**
 * @param client an Error where Temporal does not answer
 * @param links what was found of them
 */
export async function waitingReport(
  client: Client | Error,
  config: Config,
  links: Promise<readonly LinkReport[]>,
): Promise<WaitingReport> {
  const [escalated, underWay, log] = await Promise.all([
    escalatedPart(client, config),
    underWayPart(client, config),
    logPart(config, links),
  ]);
  return { escalated, underWay, ...log };
}

function ours({ temporal }: Config): string {
  return openRuns(WORKFLOW_TYPE, temporal.taskQueue);
}

async function escalatedPart(client: Client | Error, config: Config): Promise<WaitingReport['escalated']> {
  const query = `${ours(config)} AND ${SEARCH_ATTRIBUTES.state} = "escalated"`;
  const found = await askTemporal(client, PART_MS, (temporal) => escalatedGroups(temporal, query, inTime(GROUPS_MS)));
  if (found instanceof Error) return { total: null, byError: [], others: null, problem: found.message };
  const { total, groups, others } = found;
  return { total, byError: groups.map(({ error, link, keys }) => ({ error, link, keys })), others, problem: null };
}

async function underWayPart(client: Client | Error, config: Config): Promise<WaitingReport['underWay']> {
  const query = `${ours(config)} AND ${SEARCH_ATTRIBUTES.state} IS NULL`;
  const states: Partial<Record<State, number>> = {};
  const found = await askTemporal(client, PART_MS, async (temporal) => {
    const newest: string[] = [];
    for await (const { workflowId } of rows(temporal, query, MOST_ASKED)) {
      newest.push(workflowId);
      if (newest.length === MOST_ASKED) break;
    }
    const said = await Promise.all(newest.map((workflowId) => stateOf(temporal, workflowId)));
    for (const state of said) if (state !== null) states[state] = (states[state] ?? 0) + 1;
    return said.filter((state) => state !== null).length;
  });
  return found instanceof Error
    ? { asked: 0, states, problem: found.message }
    : { asked: found, states, problem: null };
}

/** null: nobody answers for it, which is said elsewhere. */
async function stateOf(client: Client, workflowId: string): Promise<State | null> {
  const answer = client.withDeadline(Date.now() + PART_MS, () => client.workflow.getHandle(workflowId).query(status));
  return answer.then(({ state }) => state).catch(() => null);
}

async function logPart(
  config: Config,
  links: Promise<readonly LinkReport[]>,
): Promise<Pick<WaitingReport, 'lag' | 'deadLetters'>> {
  const backlog = intakeOf(config).backlog(pino({ level: 'silent' }));
  if (backlog === null) return { lag: null, deadLetters: ofStreams(config, await links) };
  const { groupId, brokers, deadLetterTopic } = (config as Extract<Config, { intake: 'kafka' }>).kafka;
  const found = await within(PART_MS, backlog);
  const late = new Error(`Kafka at ${brokers.join(', ')} has not said so within ${PART_MS} ms`);
  const { lag, deadLetters } = found === 'late' ? { lag: late, deadLetters: late } : found;
  const known = (value: number | Error) => (value instanceof Error ? null : value);
  const problem = (value: number | Error) => (value instanceof Error ? value.message : null);
  return {
    lag: { group: groupId, records: known(lag), problem: problem(lag) },
    deadLetters: { in: `topic ${deadLetterTopic}`, count: known(deadLetters), problem: problem(deadLetters) },
  };
}

/** Links that share a source share its stream: one of those that are reported stands for it. */
function ofStreams({ stream, links }: Config, reports: readonly LinkReport[]): WaitingReport['deadLetters'] {
  const sourceOf = new Map(links.map(({ name, source }) => [name, JSON.stringify(source)]));
  const outboxes = new Map(reports.map(({ link, outbox }) => [sourceOf.get(link), outbox]));
  // A source that is no Redis has none, and nothing is unknown of it.
  const found = [...outboxes.values()].filter(({ deadLetters, problem }) => deadLetters !== null || problem !== null);
  const unknown = found.find(({ deadLetters }) => deadLetters === null);
  const count = found.reduce((sum, { deadLetters }) => sum + (deadLetters ?? 0), 0);
  return {
    in: `stream ${stream.deadLetterKey}`,
    count: unknown === undefined ? count : null,
    problem: unknown?.problem ?? null,
  };
}

/** Lines for a person; none for what does not wait. */
export function describeWaiting({ escalated, underWay, lag, deadLetters }: WaitingReport): string[] {
  return [
    ...describeEscalated(escalated),
    ...describeUnderWay(underWay),
    ...(lag === null ? [] : describeLag(lag)),
    ...describeLetters(deadLetters, lag !== null),
  ];
}

function describeEscalated({ total, byError, others, problem }: WaitingReport['escalated']): string[] {
  // That nothing is known of keys at all is said in their own line.
  if (problem !== null || total === 0) return [];
  const lines = byError.map(
    ({ error, link, keys }) =>
      `  ${keys ?? 'some'} ${error ?? 'of an error that is not shown'}${link === null ? '' : ` of link ${link}`}`,
  );
  const more = others === null ? ['  perhaps others'] : others > 0 ? [`  ${others} others`] : [];
  return ['escalated, see `keymend escalations`:', ...lines, ...more];
}

function describeUnderWay({ asked, states }: WaitingReport['underWay']): string[] {
  const { retrying = 0, waiting = 0 } = states;
  if (retrying + waiting === 0) return [];
  const which = asked < MOST_ASKED ? '' : `of the newest ${asked} keys that are not escalated `;
  const parts = [
    ...(retrying > 0
      ? [`${retrying} ${retrying === 1 ? 'tries' : 'try'} again by ${retrying === 1 ? 'itself' : 'themselves'}`]
      : []),
    ...(waiting > 0 ? [`${waiting} ${waiting === 1 ? 'waits' : 'wait'} for a server or for the budget`] : []),
  ];
  return [`${which}${parts.join(', ')}`];
}

function describeLag({ group, records, problem }: NonNullable<WaitingReport['lag']>): string[] {
  if (records === null) return [`how far the group ${group} is behind is not known: ${problem}`];
  return records === 0
    ? []
    : [`${counted(records, 'failed write waits', 'failed writes wait')} in Kafka for the group ${group}`];
}

/** @param isTopic in a topic those that were dealt with are counted as well */
function describeLetters({ in: place, count, problem }: WaitingReport['deadLetters'], isTopic: boolean): string[] {
  if (count === null && problem === null) return [];
  if (count === null) return [`how many dead letters there are is not known: ${problem}`];
  if (count === 0) return [];
  return isTopic
    ? [
        `${counted(count, 'record')} of dead letters in ${place}, open and resolved; \`keymend dlq group\` counts the open ones`,
      ]
    : [`${counted(count, 'dead letter')} in ${place}`];
}
