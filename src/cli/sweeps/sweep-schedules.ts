/** Sweeps that begin by themselves: one schedule of Temporal for each link. */
import {
  type Client,
  ScheduleAlreadyRunning,
  type ScheduleDescription,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
} from '@temporalio/client';
import ms from 'ms';
import type { scheduledSweep } from '../../../workflows/scheduled-sweep.js';
import { SCHEDULED_SWEEP_TYPE, type SweepOptions, sweepWorkflowId } from '../../../workflows/sweep-messages.js';
import type { Config } from '../../config.js';
import { VerbError } from '../context.js';

export interface ScheduleReport {
  readonly link: string;
  readonly scheduleId: string;
  readonly everyMs: number;
  readonly options: SweepOptions;
  /** ISO 8601, UTC; null: it is paused. */
  readonly next: string | null;
}

/** The same as that of the sweep: schedules have IDs of their own. */
const scheduleIdOf = sweepWorkflowId;

/** What Temporal could not begin in time, because it was away, begins so much later at most. */
const CATCHUP_MS = 3_600_000;

/**
 * Makes the schedule of a link, or makes it what is asked for. The first sweep begins one interval
 * from now; where the interval was the same already, its times stay.
 * @throws VerbError for a schedule of this name that is not ours
 */
export async function sweepEvery(
  client: Client,
  config: Config,
  { link, everyMs, options }: Pick<ScheduleReport, 'link' | 'everyMs' | 'options'>,
): Promise<ScheduleReport> {
  const scheduleId = scheduleIdOf(link);
  const whole = {
    spec: { intervals: [{ every: everyMs, offset: Date.now() % everyMs }] },
    action: {
      type: 'startWorkflow' as const,
      workflowType: SCHEDULED_SWEEP_TYPE,
      workflowId: `keymend/sweep-schedule/${link}`,
      taskQueue: config.temporal.taskQueue,
      args: [{ link, options }] satisfies Parameters<typeof scheduledSweep>,
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: CATCHUP_MS },
  };
  try {
    await client.schedule.create({ scheduleId, ...whole });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    await client.schedule.getHandle(scheduleId).update(({ spec, state, ...before }) => {
      ours(before.action, config, scheduleId);
      const isSame = spec.intervals?.length === 1 && spec.intervals[0]!.every === everyMs;
      return { ...whole, spec: isSame ? spec : whole.spec, state };
    });
  }
  return (await sweepSchedule(client, config, link))!;
}

/**
 * Takes the schedule of a link away. A sweep that is under way goes on.
 * @returns whether there was one
 * @throws VerbError for a schedule of this name that is not ours
 */
export async function sweepNoMore(client: Client, config: Config, link: string): Promise<boolean> {
  if ((await sweepSchedule(client, config, link)) === null) return false;
  await client.schedule
    .getHandle(scheduleIdOf(link))
    .delete()
    .catch((error: unknown) => {
      // Somebody else was faster.
      if (!(error instanceof ScheduleNotFoundError)) throw error;
    });
  return true;
}

/**
 * @returns null: there is none
 * @throws VerbError for a schedule of this name that is not ours
 */
export async function sweepSchedule(client: Client, config: Config, link: string): Promise<ScheduleReport | null> {
  const scheduleId = scheduleIdOf(link);
  try {
    const { spec, info, state, action } = await client.schedule.getHandle(scheduleId).describe();
    const [input] = ours(action, config, scheduleId) as Parameters<typeof scheduledSweep>;
    const next = state.paused ? null : (info.nextActionTimes[0]?.toISOString() ?? null);
    return { link, scheduleId, everyMs: spec.intervals?.[0]?.every ?? 0, options: input.options, next };
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return null;
    throw error;
  }
}

/** In one line, without the link. */
export function describeSchedule({ everyMs, options, next }: ScheduleReport): string {
  const given = Object.entries(options).map(([name, value]) => (value === true ? name : `${name} ${value}`));
  const which = given.length === 0 ? 'a sweep' : `a sweep (${given.join(', ')})`;
  return `${which} begins every ${exactly(everyMs)}, ${next === null ? 'paused now' : `the next at ${next}`}`;
}

/** Not rounded: 36h are no 2d. */
function exactly(everyMs: number): string {
  const unit = (['1d', '1h', '1m', '1s', '1ms'] as const).find((each) => everyMs % ms(each) === 0)!;
  return `${everyMs / ms(unit)}${unit.slice(1)}`;
}

/** @returns what it is started with */
function ours({ workflowType, taskQueue, args }: ScheduleDescription['action'], { temporal }: Config, id: string) {
  if (workflowType === SCHEDULED_SWEEP_TYPE && taskQueue === temporal.taskQueue) return args ?? [];
  throw new VerbError(
    `the schedule ${id} starts ${workflowType} on task queue ${taskQueue}, no sweep of this configuration; ` +
      'give keymend a Temporal namespace of its own',
  );
}
