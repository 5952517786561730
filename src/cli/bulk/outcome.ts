/**
 * What becomes of keys that were told to try again: seen in Temporal's list alone, so that it costs
 * no workflow anything, however many they are.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { SEARCH_ATTRIBUTES, WORKFLOW_TYPE } from '../../../workflows/messages.js';
import type { Config } from '../../config.js';
import { quoted } from '../../temporal/quoted.js';
import { askStatus } from '../answers.js';
import { rows } from '../escalated/rows.js';
import type { ToldKeys } from './told-keys.js';

export interface Outcome {
  /** A run of theirs is done since they were told, and no other has begun. */
  readonly healed: number;
  readonly failedAgain: number;
  /** Escalated since the call began, and not told anything. */
  readonly newlyEscalated: number;
  /** Neither healed nor escalated so far. */
  readonly underWay: number;
  /** By hand, or by a failure of the workflow: nobody repairs them. */
  readonly ended: number;
  /** In no list, so that nothing is claimed of them. Absent: none. */
  readonly unknown?: number;
}

interface Followed {
  readonly told: ToldKeys;
  /** How many of them were escalated. */
  readonly wereEscalated: number;
  /** When the first was told, or earlier. */
  readonly begunAt: Date;
  /** How many were escalated then; null: all of them were told. */
  readonly escalatedBefore: number | null;
  readonly link: string | undefined;
}

/** The list lags behind the workflows by about this. */
const LAG_MS = 2_000;
const LOOKED_EVERY_MS = 1_000;
/** The clock of the server may be behind by so much. */
const CLOCKS_MS = 60_000;
/** So many looks in a row find as many escalated: workers have come to an end with them. */
const STEADY_LOOKS = 4;

/**
 * Looks until none of them is under way, or the time is over.
 * @param shown told how many are under way
 * @returns null when the workers have not heard of all of them in time: an escalated one that has
 *   not heard of it yet looks like one that has failed again
 */
export async function outcomeOf(
  client: Client,
  config: Config,
  followed: Followed,
  waitMs: number,
  shown: (underWay: number) => void,
): Promise<Outcome | null> {
  const deadline = performance.now() + waitMs;
  const count = counting(client, config, followed);
  // Workers take them about in the order in which they were told, and answer behind that.
  for (;;) {
    const { last } = followed.told;
    const answers = await Promise.all(last.map((workflowId) => askStatus(client, config, workflowId)));
    // One that can't answer at all says nothing of the others.
    if (!answers.some((answer) => 'unanswered' in answer && answer.isLate)) break;
    if (performance.now() + LOOKED_EVERY_MS > deadline) return null;
    await sleep(LOOKED_EVERY_MS);
  }
  await sleep(LAG_MS);
  // An answer may overtake what others were told: a key that no worker has tried again yet is
  // escalated still, and is taken for failed only once their number does not change any more.
  for (let steady = 0, before = -1; ; ) {
    const begun = performance.now();
    const [underWay, escalated] = [await count.underWay(), await count.escalated()];
    shown(underWay + escalated);
    steady = underWay === 0 && escalated === before ? steady + 1 : 1;
    before = escalated;
    // A look over very many is to be no burden for the server.
    const pause = Math.max(LOOKED_EVERY_MS, 2 * (performance.now() - begun));
    const isOver = underWay === 0 && (escalated === 0 || steady >= STEADY_LOOKS);
    if (isOver || performance.now() + pause > deadline) break;
    await sleep(pause);
  }
  // The list of those that are closed lags behind for itself.
  for (let look = 1; ; look++) {
    const outcome = await count.all();
    const isOver = outcome.unknown === undefined || look >= STEADY_LOOKS;
    if (isOver || performance.now() + LOOKED_EVERY_MS > deadline) return outcome;
    await sleep(LOOKED_EVERY_MS);
  }
}

function counting(client: Client, config: Config, followed: Followed) {
  const { told, begunAt, escalatedBefore, wereEscalated, link } = followed;
  const { state } = SEARCH_ATTRIBUTES;
  const ours = [`WorkflowType = ${quoted(WORKFLOW_TYPE)}`, `TaskQueue = ${quoted(config.temporal.taskQueue)}`].join(
    ' AND ',
  );
  const escalated = `ExecutionStatus = "Running" AND ${state} = "escalated"`;
  const underWay = `ExecutionStatus = "Running" AND ${state} IS NULL`;
  const toldIn = async (query: string) => {
    let found = 0;
    for await (const { workflowId } of rows(client, `${ours} AND ${query}`)) if (told.has(workflowId)) found += 1;
    return found;
  };
  return {
    // Whatever link they say: one that was started by another program may say none.
    underWay: () => toldIn(underWay),
    escalated: () => toldIn(escalated),
    async all(): Promise<Outcome> {
      const open = new Set<number>();
      for await (const { workflowId } of rows(client, `${ours} AND ${underWay}`)) told.mark(workflowId, open);
      const stillUnderWay = open.size;
      let [others, othersSince] = [0, 0];
      for await (const { workflowId, startTime, link: shown } of rows(client, `${ours} AND ${escalated}`)) {
        if (told.mark(workflowId, open) || (link !== undefined && shown !== link)) continue;
        others += 1;
        if (startTime >= begunAt) othersSince += 1;
      }
      const failedAgain = open.size - stillUnderWay;
      const { healed, ended } = await closedSince(client, ours, followed, open);
      const unknown = told.size - open.size - healed - ended;
      // Of those that were escalated before and not told some may have healed by themselves.
      const left = escalatedBefore === null ? 0 : Math.max(0, escalatedBefore - wereEscalated);
      const newlyEscalated = Math.max(othersSince, others - left);
      const known = { healed, failedAgain, newlyEscalated, underWay: stillUnderWay, ended };
      return unknown > 0 ? { ...known, unknown } : known;
    },
  };
}

/** How the last run of each that is told, and not open, has come to its end. */
async function closedSince(client: Client, ours: string, { told, begunAt }: Followed, open: ReadonlySet<number>) {
  const since = quoted(new Date(begunAt.getTime() - CLOCKS_MS).toISOString());
  const statuses = ['Completed', 'Terminated', 'Failed', 'TimedOut', 'Canceled'].map(quoted).join(', ');
  const query = `${ours} AND ExecutionStatus IN (${statuses}) AND CloseTime >= ${since}`;
  const [healed, ended] = [new Map<number, number>(), new Map<number, number>()];
  for await (const { workflowId, closeTime, status } of client.workflow.list({ query, pageSize: 1_000 })) {
    const key = told.fingerprintOf(workflowId);
    if (key === null || open.has(key)) continue;
    const [its, others] = status.name === 'COMPLETED' ? [healed, ended] : [ended, healed];
    const closedAt = closeTime?.getTime() ?? 0;
    if (closedAt < Math.max(its.get(key) ?? 0, others.get(key) ?? 0)) continue;
    others.delete(key);
    its.set(key, closedAt);
  }
  return { healed: healed.size, ended: ended.size };
}
