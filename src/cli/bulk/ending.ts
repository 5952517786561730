/** What is said when many keys were told something: who takes it, and what has become of them. */
import type { Client } from '@temporalio/client';
import type { Config } from '../../config.js';
import { counted } from '../../plural.js';
import { errorText, isTemporalError } from '../../temporal/error-text.js';
import { askStatus, whoseQueue } from '../answers.js';
import { EXIT, type GlobalOptions, print, report, VerbError } from '../context.js';
import { duration } from '../escalated/query.js';
import type { BulkFlags } from '../usage/bulk.js';
import { type Outcome, outcomeOf } from './outcome.js';
import { progressOf, type Told } from './run.js';

const WAIT_MS = 60_000;
const NOT_HEARD =
  'the workers have not got to all of them yet: what becomes of them shows in `keymend escalations` and `keymend status`';

/** What a verb says of them. */
export interface Said {
  /** The name of their number in JSON. */
  readonly field: string;
  readonly line: string;
  /** What healed means here. */
  readonly healed: string;
}

interface Ended {
  readonly link: string | undefined;
  readonly told: Told;
  /** How many were escalated when the call began; null: all of them were told. */
  readonly escalatedBefore: number | null;
  readonly waitMs: number;
  readonly said: Said;
}

/** In ms. @throws VerbError for what is no time */
export function waitOf({ wait }: BulkFlags, { output }: GlobalOptions): number {
  if (wait !== undefined) return duration(wait, '--wait');
  return output === 'text' ? WAIT_MS : 0;
}

/**
 * @throws VerbError when nobody takes what they were told, or some were not told; with the exit
 *   code of divergence when some failed again, as far as was waited for
 */
export async function sayHowItEnds(global: GlobalOptions, client: Client, config: Config, ended: Ended): Promise<void> {
  const { told, waitMs, said } = ended;
  const isText = global.output === 'text';
  if (isText) print(global, null, () => [said.line, ...describeGone(told)]);
  const silent = await unanswered(client, config, told);
  const isFollowed = waitMs > 0 && told.keys.size > 0 && silent.count < told.keys.size;
  const outcome = isFollowed ? await followed(client, config, ended) : null;
  if (isText && isFollowed)
    print(global, null, () => (outcome === null ? [NOT_HEARD] : describe(outcome, said.healed)));
  if (!isText) {
    const { gone, refused, done } = told;
    const counts = {
      ...(gone > 0 && { nothingUnderWay: gone }),
      ...(refused > 0 && { refused }),
      ...(silent.count + told.unanswered > 0 && { unanswered: silent.count + told.unanswered }),
    };
    const failed = Object.keys(told.failed).length > 0 && { failed: told.failed };
    print(global, { [said.field]: told.keys.size, ...done, ...counts, ...failed, ...outcome }, () => []);
  }
  const problems = [
    ...describeSilent(silent, told),
    ...describeUnanswered(told),
    ...(await describeRefused(client, config, told)),
  ];
  if (problems.length > 0) throw new VerbError(problems.join('; '));
  sayFailures(told, outcome);
}

/** What failed at once may have healed since, where that was waited for. */
function sayFailures({ keys, failed }: Told, outcome: Outcome | null): void {
  const types = Object.entries(failed);
  const atOnce = types.reduce((sum, [, count]) => sum + count, 0);
  const count = outcome?.failedAgain ?? atOnce;
  if (count === 0) return;
  const why = types.length > 0 ? ` (at once ${types.map(([type, many]) => `${type}: ${many}`).join(', ')})` : '';
  const line = `${count} of ${counted(keys.size, 'key')} failed${why}; \`keymend escalations\` shows those that were given up on`;
  throw new VerbError(line, EXIT.divergence);
}

async function followed(
  client: Client,
  config: Config,
  { link, told, escalatedBefore, waitMs }: Ended,
): Promise<Outcome | null> {
  const { keys, wereEscalated, begunAt } = told;
  let shown = 'waiting for what becomes of them';
  const progress = progressOf(() => shown);
  try {
    const of = { told: keys, wereEscalated, begunAt, escalatedBefore, link };
    return await outcomeOf(client, config, of, waitMs, (underWay) => {
      shown = `${counted(underWay, 'key')} still under way`;
    });
  } catch (error) {
    // They were told all the same. The list can't be had, perhaps for want of attributes.
    if (!isTemporalError(error)) throw error;
    report(`what becomes of them can't be seen: ${errorText(error)}`);
    return null;
  } finally {
    progress.stop();
  }
}

function describe(outcome: Outcome, word: string): string[] {
  const { healed, failedAgain, newlyEscalated, underWay, ended, unknown = 0 } = outcome;
  return [
    `${healed} ${word}, ${failedAgain} failed again, ${newlyEscalated} newly escalated meanwhile`,
    ...(underWay > 0 ? [`${counted(underWay, 'key')} still under way: \`keymend status\` shows how they go on`] : []),
    ...(ended > 0
      ? [`the workflows of ${counted(ended, 'key')} were ended before their end: \`keymend reconcile\` looks at them`]
      : []),
    ...(unknown > 0
      ? [`what became of ${counted(unknown, 'key')} does not show: \`keymend status KEY\` looks at one`]
      : []),
    ...(failedAgain + newlyEscalated > 0 ? ['`keymend escalations` says why'] : []),
  ];
}

function describeGone({ gone }: Told): string[] {
  return gone === 0 ? [] : [`${counted(gone, 'key')} told nothing: what was found of them is over`];
}

interface Silent {
  readonly count: number;
  readonly first: { readonly workflowId: string; readonly unanswered: string } | null;
}

/**
 * A few are asked: where none of them is answered for, it is the worker that is missing, and the
 * others would only cost their time-out. The first ones: behind the others a worker may be for a
 * while.
 */
async function unanswered(client: Client, config: Config, { keys }: Told): Promise<Silent> {
  const asked = await Promise.all(
    keys.first.map(async (workflowId) => ({ workflowId, answer: await askStatus(client, config, workflowId) })),
  );
  const found = asked.flatMap(({ workflowId, answer }) => ('unanswered' in answer ? [{ workflowId, ...answer }] : []));
  return {
    count: found.length > 0 && found.length === asked.length ? keys.size : found.length,
    first: found[0] ?? null,
  };
}

function describeSilent({ count, first }: Silent, { keys }: Told): string[] {
  if (first === null) return [];
  return [
    `${count} of ${counted(keys.size, 'key')} without an answer, for example ${first.workflowId}: ${first.unanswered}. ` +
      'What they were told is kept until a worker takes it',
  ];
}

function describeUnanswered({ unanswered, firstUnanswered }: Told): string[] {
  if (firstUnanswered === null) return [];
  const { workflowId, why } = firstUnanswered;
  return [
    `${counted(unanswered, 'key')} asked without an answer, for example ${workflowId}: ${why}. What they were asked may not be ` +
      'kept; the same call asks them once more',
  ];
}

async function describeRefused(client: Client, config: Config, { refused, firstRefused }: Told): Promise<string[]> {
  if (firstRefused === null) return [];
  const { workflowId, taskQueue, why } = firstRefused;
  const reason = taskQueue === null ? why : await whoseQueue(client, config, { workflowId, taskQueue });
  return [
    `${counted(refused, 'escalated key')} of other task queues, told nothing, for example ${workflowId}: ${reason}`,
  ];
}
