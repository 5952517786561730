/** The Schedules of `dlq.rules`, on a real Temporal. */
import { ScheduleClient } from '@temporalio/client';
import { pino } from 'pino';
import { ulid } from 'ulid';
import { expect, onTestFinished, test } from 'vitest';
import type { LetterRule } from '../../src/config.js';
import { applyRules } from '../../src/worker/letter-rules.js';
import { eventually } from '../support/eventually.js';
import { onStack } from '../support/workflow-bed.js';

const server = onStack();
const MINUTE_MS = 60_000;
const REDRIVE: LetterRule = { match: { errorType: 'TargetReadOnly' }, do: 'redrive', after: 10 * MINUTE_MS };
const DISCARD: LetterRule = { match: { reason: 'invalid-json' }, do: 'discard', after: 60 * MINUTE_MS };

test('each rule has one schedule, however many workers start; it follows the configuration, and a pause stays', async () => {
  const taskQueue = ulid();
  const client = new ScheduleClient({ connection: server.env.connection });
  const apply = (...rules: LetterRule[]) => applyRules({ client, taskQueue, rules, logger: pino({ level: 'silent' }) });
  onTestFinished(() => apply());
  const idOf = (number: number) => `keymend/dlq-rule/${taskQueue}/${number}`;
  const ours = async () => {
    const ids: string[] = [];
    for await (const { scheduleId } of client.list()) if (scheduleId.includes(taskQueue)) ids.push(scheduleId);
    return ids.sort();
  };

  await Promise.all([apply(REDRIVE, DISCARD), apply(REDRIVE, DISCARD), apply(REDRIVE, DISCARD)]);
  await eventually(async () => expect(await ours()).toEqual([idOf(1), idOf(2)]));
  const { spec, action, policies } = await client.getHandle(idOf(1)).describe();
  expect(spec.intervals).toMatchObject([{ every: 10 * MINUTE_MS }]);
  expect(policies.overlap).toBe('SKIP');
  expect(action).toMatchObject({
    workflowType: 'redrive',
    workflowId: `keymend/redrive/${taskQueue}/rule-1`,
    taskQueue,
  });
  expect(action.args).toMatchObject([{ action: 'redrive', by: 'rule 1 of dlq.rules' }]);

  await client.getHandle(idOf(1)).pause('the target is being mended');
  await apply({ ...REDRIVE, after: 20 * MINUTE_MS });
  const changed = await client.getHandle(idOf(1)).describe();
  expect(changed.spec.intervals).toMatchObject([{ every: 20 * MINUTE_MS }]);
  expect(changed.state.paused).toBe(true);
  // What is listed lags behind.
  await eventually(async () => {
    await apply({ ...REDRIVE, after: 20 * MINUTE_MS });
    expect(await ours()).toEqual([idOf(1)]);
  });
});
