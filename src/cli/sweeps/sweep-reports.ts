/** What `keymend status` says of sweeps: those under way, the last one of each link, the next. */
import { type Client, WorkflowFailedError, type WorkflowHandle, WorkflowNotFoundError } from '@temporalio/client';
import type { sweep } from '../../../workflows/sweep.js';
import {
  type AskedOptions,
  progress,
  SWEEP_TYPE,
  type SweepMemo,
  type SweepProgress,
  type SweepResult,
  sweepWorkflowId,
} from '../../../workflows/sweep-messages.js';
import type { Config } from '../../config.js';
import { counted } from '../../plural.js';
import { describeConsistency } from '../../sweep/ageing.js';
import { inBrackets } from '../../sweep/part-of.js';
import { differencesIn } from '../../sweep/tally.js';
import { causeOf } from '../../temporal/cause-of.js';
import { errorText } from '../../temporal/error-text.js';
import { underWay } from '../status/under-way.js';
import { describeProgress } from './sweep-progress.js';
import { describeSchedule, type ScheduleReport, sweepSchedule } from './sweep-schedules.js';

interface SweepUnderWay extends SweepProgress {
  readonly workflowId: string;
}

interface LastSweep {
  readonly link: string;
  /** What it looked for; null: of one that came to no end, and was started by hand. */
  readonly options: AskedOptions | null;
  /** null: it came to no end of its own. */
  readonly result: Pick<SweepResult, 'outcome' | 'compared' | 'differing' | 'repaired' | 'consistent'> | null;
  /** COMPLETED, TERMINATED, … */
  readonly workflow: string;
  /** Why it has failed; null: it has not. */
  readonly reason: string | null;
  /** ISO 8601, UTC. */
  readonly finishedAt: string;
}

export interface SweepsReport {
  readonly sweeps: readonly SweepUnderWay[];
  /** Of links whose last sweep has ended, as long as Temporal keeps that. */
  readonly last: readonly LastSweep[];
  /** Of links with sweeps that begin by themselves. */
  readonly schedules: readonly ScheduleReport[];
  /** Why more is not known; null: all is. */
  readonly problem: string | null;
}

const TIMEOUT_MS = 5_000;

/** @param client an Error where Temporal does not answer */
export async function sweepsReport(client: Client | Error, config: Config): Promise<SweepsReport> {
  const { answers, problem } = await underWay(client, config, { type: SWEEP_TYPE, status: progress });
  const known = { sweeps: answers, last: [], schedules: [] };
  if (client instanceof Error || problem !== null) return { ...known, problem };
  try {
    return await client.withDeadline(Date.now() + TIMEOUT_MS, async () => {
      const last = await Promise.all(config.links.map(({ name }) => lastSweep(client, config, name)));
      const schedules = await Promise.all(config.links.map(({ name }) => sweepSchedule(client, config, name)));
      const isThere = <T>(one: T | null): one is T => one !== null;
      return { sweeps: answers, last: last.filter(isThere), schedules: schedules.filter(isThere), problem };
    });
  } catch (error) {
    return { ...known, problem: errorText(error) };
  }
}

async function lastSweep(client: Client, { temporal }: Config, link: string): Promise<LastSweep | null> {
  const handle = client.workflow.getHandle<typeof sweep>(sweepWorkflowId(link));
  try {
    const { type, taskQueue, status, closeTime, memo } = await handle.describe();
    if (type !== SWEEP_TYPE || taskQueue !== temporal.taskQueue || closeTime === undefined) return null;
    const { options = null } = (memo ?? {}) as Partial<SweepMemo>;
    const ended = { link, options, workflow: status.name, reason: null, finishedAt: closeTime.toISOString() };
    if (status.name !== 'COMPLETED') return { ...ended, result: null, reason: await reasonOf(handle) };
    const { options: asked, outcome, compared, differing, repaired, consistent } = await handle.result();
    return {
      ...ended,
      options: asked,
      result: { outcome, compared, differing, repaired, ...(consistent && { consistent }) },
    };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}

/** @returns null: it did not fail by itself, or nobody can say why */
async function reasonOf(handle: WorkflowHandle<typeof sweep>): Promise<string | null> {
  const error: unknown = await handle.result().catch((error: unknown) => error);
  if (!(error instanceof WorkflowFailedError)) return null;
  const { type, message } = causeOf(error);
  return type ? `${type}: ${message}` : null;
}

/** Lines for a person; none where nothing is known of sweeps. */
export function describeSweeps({ sweeps, last, schedules, problem }: SweepsReport): string[] {
  return [
    ...sweeps.map((sweep) => `sweep of link ${sweep.link}${inBrackets(sweep.options)}: ${describeProgress(sweep)}`),
    ...last.map(
      (ended) => `last sweep of link ${ended.link}${inBrackets(ended.options ?? {})}: ${describeLast(ended)}`,
    ),
    ...schedules.map((schedule) => `link ${schedule.link}: ${describeSchedule(schedule)}`),
    ...(problem === null ? [] : [`what is known of sweeps is incomplete: ${problem}`]),
  ];
}

function describeLast({ result, workflow, reason, finishedAt }: LastSweep): string {
  if (result === null)
    return `${workflow.toLowerCase()} at ${finishedAt}, before its end${reason === null ? '' : `: ${reason}`}`;
  const { outcome, compared, repaired, consistent } = result;
  const more = [...(repaired > 0 ? [`${repaired} repaired`] : []), ...describeConsistency(consistent)];
  const facts = [`${counted(compared, 'key')} compared`, `${differencesIn(result)} differ`, ...more];
  return `${outcome} at ${finishedAt}, ${facts.join(', ')}`;
}
