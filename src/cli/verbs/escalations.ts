/** `keymend escalations`: what was given up on for now, in groups, and each key. */
import type { Client } from '@temporalio/client';
import { pMapIterable } from 'p-map';
import { nextStep } from '../../../workflows/error-types.js';
import type { KeyStatus } from '../../../workflows/messages.js';
import type { Config } from '../../config.js';
import { askStatus, type Unanswered } from '../answers.js';
import { withClient } from '../configured.js';
import { type GlobalOptions, print } from '../context.js';
import { describeGroups, describeNone, groupReport } from '../escalated/group-lines.js';
import { escalatedGroups } from '../escalated/groups.js';
import { inTime } from '../escalated/in-time.js';
import { withPrefixes } from '../escalated/prefixes.js';
import { escalatedQuery } from '../escalated/query.js';
import { escalatedRows, expectAttributes, type KeyRow } from '../escalated/rows.js';
import { jsonLine, keyText } from '../printable.js';
import type { Filters } from '../usage/filters.js';

const CONCURRENCY = 16;
/** So many without an answer, one after the other: it is their worker that is missing. */
const MOST_SILENT = 5;
/** So many are shown one by one below their groups. */
const MOST_SHOWN = 10;
/** The first screen is there within 2 s; who asks for groups alone waits until all are counted. */
const GROUPS_MS = 1_200;
const ALL_GROUPS_MS = 60_000;

type Escalation =
  | (KeyStatus & {
      readonly workflowId: string;
      readonly nextStep: string;
      /** ISO 8601: of the first failed write, else when somebody began to ask for the key. */
      readonly since: string;
    })
  /** As Temporal lists it. */
  | (Pick<Unanswered, 'unanswered'> & Pick<KeyRow, 'workflowId' | 'link' | 'error'> & { readonly since: string });

export interface EscalationsFlags extends Filters {
  readonly list?: true;
  readonly groups?: true;
}

/** Groups, and each key where there are few; or each key alone. */
export async function escalations(flags: EscalationsFlags, global: GlobalOptions): Promise<void> {
  await withClient(global, async (client, config) => {
    const escalated = escalatedQuery(config, flags);
    const list = flags.list ?? (global.output === 'json' && flags.groups === undefined);
    if (!list) {
      await expectAttributes(client, escalated);
      const soon = inTime(flags.groups ? ALL_GROUPS_MS : GROUPS_MS);
      const found = await withPrefixes(client, config, await escalatedGroups(client, escalated.query, soon), soon);
      print(global, groupReport(found, flags), () => describeGroups(found, flags));
      if (flags.groups || found.total === null || found.total > MOST_SHOWN || found.total === 0) return;
    }
    const keys = pMapIterable(escalatedRows(client, escalated), asking(client, config), { concurrency: CONCURRENCY });
    await printEach(global, flags, keys);
  });
}

/** As they come, for there may be very many. */
async function printEach(
  global: GlobalOptions,
  filters: Filters,
  escalations: AsyncIterable<Escalation>,
): Promise<void> {
  let count = 0;
  let isRead = true;
  process.stdout.once('error', () => {
    isRead = false;
  });
  for await (const escalation of escalations) {
    // As behind `head`: there may be a hundred thousand more.
    if (!isRead) return;
    count += 1;
    if (global.output === 'text') print(global, escalation, () => describe(escalation));
    else process.stdout.write(`${count === 1 ? '[' : ',\n'}${jsonLine(escalation)}`);
  }
  if (global.output === 'json') process.stdout.write(count === 0 ? '[]\n' : ']\n');
  else if (count === 0) print(global, [], () => [describeNone(filters)]);
}

interface Silence {
  /** So many were asked since the last answer, and have not answered. */
  readonly keys: number;
  readonly answeredAt: number;
  readonly why: string;
}

/** Each costs its time-out where nobody answers: then the others of its queue are not asked. */
function asking(client: Client, config: Config): (row: KeyRow) => Promise<Escalation> {
  const silences = new Map<string, Silence>();
  return async ({ workflowId, taskQueue, startTime, link, error }) => {
    const begun = startTime.toISOString();
    const unasked = (unanswered: string) => ({ workflowId, link, error, since: begun, unanswered });
    const before = silences.get(taskQueue);
    if (before !== undefined && before.keys >= MOST_SILENT) return unasked(`not asked: ${before.why}`);
    const askedAt = performance.now();
    const answer = await askStatus(client, config, workflowId);
    const { keys = 0, answeredAt = 0 } = silences.get(taskQueue) ?? {};
    if ('unanswered' in answer) {
      const counts = answer.isLate && askedAt >= answeredAt;
      silences.set(taskQueue, { keys: counts ? keys + 1 : keys, answeredAt, why: answer.unanswered });
      return unasked(answer.unanswered);
    }
    silences.set(taskQueue, { keys: 0, answeredAt: performance.now(), why: '' });
    const since = answer.firstFailedAt ?? begun;
    return { ...answer, workflowId, nextStep: nextStep(answer.lastError?.type ?? ''), since };
  };
}

function describe(escalation: Escalation): string[] {
  if ('unanswered' in escalation) {
    const { workflowId, link, error, since, unanswered } = escalation;
    const shown = [...(link === null ? [] : [`link ${link}`]), ...(error === null ? [] : [error]), `since ${since}`];
    return [`${workflowId}  (${shown.join(', ')})`, `    ${unanswered}`];
  }
  const { link, firstFailedAt, since, attempts, lastError } = escalation;
  const what = firstFailedAt === null ? 'asked for' : 'failing';
  return [
    `${keyText(escalation)}  (link ${link}, ${what} since ${since}, attempts: ${attempts})`,
    ...(lastError === null ? [] : [`    ${lastError.type}: ${lastError.message}`]),
    `    ${escalation.nextStep}`,
  ];
}
