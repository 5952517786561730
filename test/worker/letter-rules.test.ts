/** The Schedules of `dlq.rules`, on a real Temporal. */
import { ScheduleClient } from '@temporalio/client';
import { ulid } from 'ulid';
import { expect, onTestFinished, test } from 'vitest';
import type { LetterRule } from '../../src/config.js';
import { scheduled } from '../../src/dead-letters/rules.js';
import { applyRules } from '../../src/worker/letter-rules.js';
import { type LogLine, loggerInto } from '../bridge/bridge-bed.js';
import { eventually } from '../support/eventually.js';
import { onStack } from '../support/workflow-bed.js';

const server = onStack();
const MINUTE_MS = 60_000;
const REDRIVE: LetterRule = { match: { errorType: 'TargetReadOnly' }, do: 'redrive', after: 10 * MINUTE_MS };
const DISCARD: LetterRule = { match: { reason: 'invalid-json' }, do: 'discard', after: 60 * MINUTE_MS };

async function bed(taskQueue = ulid()) {
  const client = new ScheduleClient({ connection: server.env.connection });
  const lines: LogLine[] = [];
  const logger = loggerInto(lines);
  const closing = new AbortController();
  const apply = (rules: LetterRule[], by = client) =>
    applyRules({ client: by, taskQueue, rules, logger }, closing.signal);
  onTestFinished(async () => {
    await apply([]);
    closing.abort();
  });
  const idOf = (rule: LetterRule) => `keymend/dlq-rule/${taskQueue}/${scheduled([rule])[0]!.name}`;
  const ours = async () => {
    const ids: string[] = [];
    for await (const { scheduleId } of client.list()) if (scheduleId.includes(taskQueue)) ids.push(scheduleId);
    return ids.sort();
  };
  const warnings = () => lines.filter(({ level }) => level >= 40).map(({ msg }) => msg);
  return { client, taskQueue, apply, idOf, ours, warnings, lines, closing };
}

test('each rule has one schedule, however many workers start, and it follows the configuration', async () => {
  const { client, taskQueue, apply, idOf, ours } = await bed();
  const both = [REDRIVE, DISCARD];
  await Promise.all([apply(both), apply(both), apply(both)]);
  await eventually(async () => expect(await ours()).toEqual([idOf(DISCARD), idOf(REDRIVE)]));
  const { spec, action, policies } = await client.getHandle(idOf(REDRIVE)).describe();
  expect(spec.intervals).toMatchObject([{ every: 10 * MINUTE_MS }]);
  expect(policies.overlap).toBe('SKIP');
  expect(action).toMatchObject({
    workflowType: 'redrive',
    workflowId: `keymend/redrive/${taskQueue}/rule-${scheduled([REDRIVE])[0]!.name}`,
    taskQueue,
  });
  expect(action.args).toMatchObject([{ action: 'redrive', by: 'rule 1 of dlq.rules' }]);

  const rarer = { ...REDRIVE, after: 20 * MINUTE_MS };
  // What is listed lags behind.
  await eventually(async () => {
    await apply([rarer]);
    expect(await ours()).toEqual([idOf(REDRIVE)]);
  });
  const changed = await client.getHandle(idOf(REDRIVE)).describe();
  expect(changed.spec.intervals).toMatchObject([{ every: 20 * MINUTE_MS }]);
});

test('a rule that a person has paused stays so when others come before it, and none of them is paused for it', async () => {
  const { client, apply, idOf } = await bed();
  await apply([DISCARD]);
  await client.getHandle(idOf(DISCARD)).pause('not before the producer is mended');
  await apply([REDRIVE, DISCARD]);
  const isPaused = async (rule: LetterRule) => (await client.getHandle(idOf(rule)).describe()).state.paused;
  expect([await isPaused(REDRIVE), await isPaused(DISCARD)]).toEqual([false, true]);
});

test('a rule that is gone goes on no longer, also when Temporal was away as the worker started, and one line tells', async () => {
  const { client, apply, ours, warnings } = await bed();
  await apply([DISCARD]);
  await eventually(async () => expect(await ours()).toHaveLength(1));
  let tries = 0;
  const away: ScheduleClient = Object.assign(Object.create(client), {
    list() {
      tries += 1;
      if (tries === 1) throw new Error('Temporal is away');
      return client.list();
    },
  });
  await apply([], away);
  expect(warnings()).toEqual([expect.stringMatching(/^dlq\.rules do not run as configured: .*Temporal is away/)]);
  await eventually(async () => expect(await ours()).toEqual([]));
});

test('a worker that ends while Temporal is away does not say that it has come back', async () => {
  const { client, apply, lines, closing } = await bed();
  let tries = 0;
  const away: ScheduleClient = Object.assign(Object.create(client), {
    list() {
      tries += 1;
      if (tries === 2) closing.abort();
      throw new Error('Temporal is away');
    },
  });
  await apply([], away);
  expect(tries).toBe(2);
  expect(lines.map(({ msg }) => msg)).toEqual([expect.stringMatching(/^dlq\.rules do not run as configured: /)]);
});

test('the rules of a task queue whose name begins with that of another one are not its own', async () => {
  const short = await bed();
  const long = await bed(`${short.taskQueue}/other`);
  await long.apply([DISCARD]);
  await eventually(async () => expect(await long.ours()).toEqual([long.idOf(DISCARD)]));
  await short.apply([]);
  await expect(long.client.getHandle(long.idOf(DISCARD)).describe()).resolves.toBeDefined();
});
