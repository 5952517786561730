/** `dlq.rules` on Schedules of Temporal: whichever worker lives, they run, and once at a time. */
import { ScheduleAlreadyRunning, type ScheduleClient, ScheduleOverlapPolicy } from '@temporalio/client';
import type { Logger } from 'pino';
import { REDRIVE_ID_PREFIX, REDRIVE_TYPE, type RedriveMemo } from '../../workflows/redrive-messages.js';
import type { LetterRule } from '../config.js';
import { scheduled } from '../dead-letters/rules.js';
import { errorText } from '../temporal/error-text.js';

interface RulesOptions {
  readonly client: ScheduleClient;
  readonly taskQueue: string;
  readonly rules: readonly LetterRule[];
  readonly logger: Logger;
}

/**
 * Makes the schedules as the configuration says, and takes away those of rules that are gone. Each
 * worker does so when it starts: as often as that is, the end is the same, and of workers with
 * different rules the last one started counts. Never rejects: without rules keys are repaired all
 * the same.
 */
export async function applyRules({ client, taskQueue, rules, logger }: RulesOptions): Promise<void> {
  const prefix = `keymend/dlq-rule/${taskQueue}/`;
  try {
    const wanted = new Set<string>();
    for (const rule of scheduled(rules)) {
      const scheduleId = `${prefix}${rule.number}`;
      wanted.add(scheduleId);
      await apply(client, scheduleId, taskQueue, rule);
    }
    // What is listed lags behind: a rule that has just been made and dropped again goes next time.
    for await (const { scheduleId } of client.list()) {
      if (!scheduleId.startsWith(prefix) || wanted.has(scheduleId)) continue;
      await client.getHandle(scheduleId).delete();
      logger.info({ scheduleId }, 'the rule for dead letters is gone from the configuration, and so is its schedule');
    }
  } catch (error) {
    const level = rules.length > 0 ? 'warn' : 'debug';
    logger[level](`dlq.rules do not run as configured: Temporal does not take their schedules: ${errorText(error)}`);
  }
}

async function apply(
  client: ScheduleClient,
  scheduleId: string,
  taskQueue: string,
  { number, everyMs, input }: ReturnType<typeof scheduled>[number],
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
      workflowId: `${REDRIVE_ID_PREFIX}${taskQueue}/rule-${number}`,
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
