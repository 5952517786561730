/** `dlq.rules` on Schedules of Temporal: whichever worker lives, they run, and once at a time. */
import {
  ScheduleAlreadyRunning,
  type ScheduleClient,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
} from '@temporalio/client';
import type { Logger } from 'pino';
import { REDRIVE_ID_PREFIX, REDRIVE_TYPE, type RedriveMemo } from '../../workflows/redrive-messages.js';
import type { LetterRule } from '../config.js';
import { isRuleName, scheduled } from '../dead-letters/rules.js';
import { Outage } from '../patience/outage.js';
import { untilTaken } from '../patience/until-taken.js';
import { errorText } from '../temporal/error-text.js';

interface RulesOptions {
  readonly client: ScheduleClient;
  readonly taskQueue: string;
  readonly rules: readonly LetterRule[];
  readonly logger: Logger;
}

/** How long one try may take: a namespace may have very many schedules. */
const TRY_MS = 60_000;

/**
 * Makes the schedules as the configuration says, and takes away those of rules that are gone. Each
 * worker does so when it starts: as often as that is, the end is the same, and of workers with
 * different rules the last one counts. Tries until Temporal takes them, for a rule that discards
 * must not go on where it was taken away; keys are repaired all the same.
 * @returns resolves then, or when aborted
 */
export async function applyRules({ client, logger, ...options }: RulesOptions, signal: AbortSignal): Promise<void> {
  const outage = new Outage(logger, 'dlq.rules do not run as configured', 'It is tried again; repairs go on.');
  const told = {
    worked: () => outage.worked(),
    // Of a worker that has ended it is not tried again.
    failed: (reason: string) => signal.aborted || outage.failed(reason),
  };
  const attempt = () => client.withDeadline(Date.now() + TRY_MS, () => applyOnce({ client, logger, ...options }));
  const explain = (error: unknown) => `Temporal does not take their schedules: ${errorText(error)}`;
  await untilTaken(attempt, { outage: told, explain, signal });
}

async function applyOnce({ client, taskQueue, rules, logger }: RulesOptions): Promise<void> {
  const prefix = `keymend/dlq-rule/${taskQueue}/`;
  const wanted = scheduled(rules);
  for (const rule of wanted) await apply(client, `${prefix}${rule.name}`, taskQueue, rule);
  // What is listed lags behind: a rule that has just been made and dropped again goes next time.
  for await (const { scheduleId } of client.list()) {
    // The name of another task queue may begin with this one.
    const name = scheduleId.startsWith(prefix) ? scheduleId.slice(prefix.length) : '';
    if (!isRuleName(name) || wanted.some((rule) => rule.name === name)) continue;
    await client.getHandle(scheduleId).delete().catch(unlessGone);
    logger.info({ scheduleId }, 'the rule for dead letters is gone from the configuration, and so is its schedule');
  }
}

/** Another worker that starts may have been faster, and the list lags behind. */
function unlessGone(error: unknown): void {
  if (!(error instanceof ScheduleNotFoundError)) throw error;
}

async function apply(
  client: ScheduleClient,
  scheduleId: string,
  taskQueue: string,
  { name, everyMs, input }: ReturnType<typeof scheduled>[number],
): Promise<void> {
  const { action, filter, by } = input;
  const schedule = {
    spec: { intervals: [{ every: everyMs }] },
    // Two at once would say twice what becomes of a letter. What was missed is not made up for.
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 minute' as const },
    action: {
      type: 'startWorkflow' as const,
      workflowType: REDRIVE_TYPE,
      // Temporal adds the time, which is the same for all that share the namespace.
      workflowId: `${REDRIVE_ID_PREFIX}${taskQueue}/rule-${name}`,
      taskQueue,
      args: [input],
      memo: { action, filter, by } satisfies RedriveMemo,
    },
  };
  try {
    await client.create({ scheduleId, ...schedule });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    // Whoever has paused it meant it to stay so.
    await client.getHandle(scheduleId).update(({ state }) => ({ ...schedule, state }));
  }
}
