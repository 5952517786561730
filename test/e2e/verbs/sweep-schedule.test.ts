/** Sweeps that begin by themselves, as a person asks for them, on a real Temporal. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { WholeReport } from '../../../src/cli/verbs/status.js';
import { sweepWorkflowId } from '../../../workflows/sweep-messages.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, type Running, type Sandbox } from '../../support/keymend.js';

let sandbox: Sandbox;
let worker: Running;
const link = `every-${randomUUID().slice(0, 8)}`;
const workflowId = sweepWorkflowId(link);
const HOUR = 3_600_000;
beforeAll(async () => {
  sandbox = await createSandbox();
  sandbox.configure({ link: { name: link, settle: '50ms' } });
  worker = await sandbox.start('worker');
});
afterAll(async () => {
  await sandbox?.keymend('sweep', '--every', 'off');
  await worker?.stop();
  await sandbox?.close();
});

const every = async (...args: string[]) => {
  const { code, stdout, stderr } = await sandbox.keymend('sweep', '--every', ...args, '--output', 'json');
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as { everyMs: number | null; next: string; options: object; scheduleId: string };
};
const sweeps = async () => {
  const { stdout } = await sandbox.keymend('status', '--output', 'json');
  return (JSON.parse(stdout) as WholeReport).sweeps;
};
const schedule = () => sandbox.client.schedule.getHandle(workflowId);

it('makes a schedule, changes it, and asking for the same again moves nothing', async () => {
  const before = Date.now();
  const made = await every('24h', '--match', 'user:*', '--repair');
  expect(made).toMatchObject({
    scheduleId: workflowId,
    everyMs: 24 * HOUR,
    options: { match: 'user:*', repair: true },
  });
  const next = Date.parse(made.next);
  expect(next).toBeGreaterThan(before);
  expect(next).toBeLessThanOrEqual(Date.now() + 24 * HOUR);
  expect(await every('24h', '--match', 'user:*', '--repair')).toEqual(made);
  const other = await every('36h');
  expect(other).toMatchObject({ everyMs: 36 * HOUR, options: {} });
  expect(await sweeps()).toMatchObject({ schedules: [{ link, everyMs: 36 * HOUR, next: other.next }] });
  expect((await sandbox.keymend('status')).stdout).toContain(
    `link ${link}: a sweep begins every 36h, the next at ${other.next}\n`,
  );
});

it('when its time comes the sweep runs under the ID of its link, and its end is told', async () => {
  const { source, target } = sandbox;
  await source.client.mset({ 'user:1': 'v', 'user:2': 'v' });
  await target.client.set('user:1', 'v');
  await every('12h', '--match', 'user:*');
  await schedule().trigger();
  await eventually(async () =>
    expect((await sweeps()).last).toMatchObject([
      { link, options: { match: 'user:*' }, result: { outcome: 'divergent', compared: 2, differing: { missing: 1 } } },
    ]),
  );
  const named = `sweep of link ${link} (keys that match user:*): divergent`;
  const { stdout } = await sandbox.keymend('status');
  expect(stdout.split('\n').find((line) => line.includes(`last ${named}`))).toMatch(
    / at \S+, 2 keys compared, 1 differ/,
  );
  // Whoever reads the log hears of it as well.
  const told = worker
    .log()
    .split('\n')
    .find((line) => line.includes(`sweep of link ${link} (keys that match a pattern): divergent`));
  expect(JSON.parse(told!)).toMatchObject({ asked: { match: 'user:*' }, differing: { missing: 1 } });
  expect(told).not.toContain('"level":30');
});

it('where one is under way none begins beside it', async () => {
  const { source, target, client } = sandbox;
  const pairs = Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`user:${index}`, 'v']));
  await Promise.all([source.client.mset(pairs), target.client.mset(pairs)]);
  const slow = sandbox.keymend('sweep', '--rate', '1');
  const handle = client.workflow.getHandle(workflowId);
  await eventually(async () => expect((await handle.describe()).status.name).toBe('RUNNING'));
  const { runId } = await handle.describe();
  await schedule().trigger();
  await eventually(async () => {
    const { info } = await schedule().describe();
    const begun = info.recentActions.map(({ action }) => action.workflow.workflowId);
    const results = await Promise.all(begun.map((id) => client.workflow.getHandle(id).result()));
    expect(results.at(-1)).toEqual({ workflowId, sweep: 'joined' });
  });
  expect((await handle.describe()).runId).toBe(runId);
  expect(worker.log()).toContain(`a sweep of link ${link} is under way: the one of its schedule is left out`);
  await handle.cancel();
  await slow;
});

it('is taken away, also when there is none', async () => {
  await every('12h');
  expect(await every('off')).toEqual({ link, everyMs: null });
  await expect(schedule().describe()).rejects.toThrow();
  expect((await sandbox.keymend('sweep', '--every', 'off')).stdout).toBe(`link ${link}: no sweep began by itself\n`);
  expect(await sweeps()).toMatchObject({ schedules: [] });
});

it('is taken away of a link that is no longer in the configuration, where nothing else would end it', async () => {
  await every('12h');
  const configured = { name: link, settle: '50ms' };
  sandbox.configure({ link: { name: 'another' } });
  try {
    expect(await every('off', '--link', link)).toEqual({ link, everyMs: null });
    await expect(schedule().describe()).rejects.toThrow();
    expect(await sandbox.keymend('sweep', '--every', 'off', '--link', link)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`no link "${link}" in the configuration`),
    });
  } finally {
    sandbox.configure({ link: configured });
  }
});

it('refuses what can not be meant, and a schedule of somebody else', async () => {
  const refused = async (...args: string[]) => {
    const { code, stderr } = await sandbox.keymend('sweep', ...args);
    return `${code} ${stderr}`;
  };
  expect(await refused('--every', '5s')).toMatch(/^2 .*--every 5s: give a time of a minute or more, for example 24h/);
  expect(await refused('--every', 'daily')).toMatch(/^2 .*--every daily/);
  // Of seconds: they would be milliseconds.
  expect(await refused('--every', '86400')).toMatch(/^2 .*--every 86400: give a time/);
  expect(await refused('--every', '24h', '--report', 'r.json')).toMatch(/^2 .*nobody would write --report/);
  const foreign = await sandbox.client.schedule.create({
    scheduleId: workflowId,
    spec: { intervals: [{ every: '1 day' }] },
    action: { type: 'startWorkflow', workflowType: 'backup', taskQueue: 'other', args: [] },
  });
  try {
    for (const value of ['24h', 'off'])
      expect(await refused('--every', value)).toMatch(/^1 .*starts backup on task queue other, no sweep of this/);
    expect((await foreign.describe()).action.workflowType).toBe('backup');
  } finally {
    await foreign.delete();
  }
});
