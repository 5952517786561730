/** Ctrl-C while many keys are told something: the same call once more goes on. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pMap from 'p-map';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { until } from '../../support/eventually.js';
import { createSandbox, type Sandbox, spawnKeymend } from '../../support/keymend.js';
import { startEscalated, startStubWorker } from '../../support/stub-worker.js';

const KEYS = 80;
/** So many are done when it is interrupted; with the rate most are not. */
const DONE = 10;
const SLOWLY = ['--rate', '20'];
const names = Array.from({ length: KEYS }, (_, index) => `key:${100 + index}`);

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
});
afterAll(() => sandbox?.close());

async function isAtRest(workflowId: string): Promise<boolean> {
  const { raw } = await sandbox.client.workflow.getHandle(workflowId).describe();
  return raw.pendingWorkflowTask == null;
}

/** Begins the call, and ends it as Ctrl-C does as soon as `isUnderWay`; for a shell that is 130. */
async function interrupted(call: readonly string[], isUnderWay: () => boolean | Promise<boolean>): Promise<void> {
  const begun = spawnKeymend([...call, ...SLOWLY, '--config', sandbox.configure({})]);
  await until(isUnderWay);
  expect(await begun.stop('SIGINT')).toBeNull();
  expect(begun.process.signalCode).toBe('SIGINT');
}

it.each([
  { call: ['retry', '--escalated', '--link', 'east-to-west'], field: 'retried' },
  { call: ['skip', '--escalated', '--link', 'east-to-west', '--reason', 'a test', '--yes'], field: 'skipped' },
])('$call.0 --escalated tells those that the call before has not told, and nobody twice', async ({ call, field }) => {
  const [of, taskQueue] = [`${sandbox.prefix}${field}/`, `keymend-${sandbox.prefix.slice(0, -1)}`];
  const workflowIds = names.map((name) => of + name);
  const worker = startStubWorker(sandbox.client, taskQueue, () => true);
  try {
    const keys = workflowIds.map((workflowId) => ({ workflowId, error: 'TargetReadOnly' }));
    await startEscalated(sandbox.client, { link: 'east-to-west', taskQueue }, keys);
    await until(() => worker.begun() >= KEYS);
    const ours = ['--prefix', `${field}/`];
    const listed = `WorkflowId STARTS_WITH "${of}" AND ExecutionStatus = "Running"`;
    const running = async () => (await sandbox.client.workflow.count(listed)).count;
    await until(async () => (await running()) === KEYS);

    await interrupted([...call, ...ours], () => worker.told.length >= DONE);
    // A signal that arrived right before the end may still wait for the worker.
    await until(async () => (await pMap(workflowIds, isAtRest, { concurrency: 16 })).every(Boolean));
    await until(async () => (await running()) === KEYS - worker.told.length);
    const before = worker.told.length;
    expect(before).toBeLessThan(KEYS);

    const { code, stdout } = await sandbox.keymend(...call, ...ours, '--output', 'json');
    expect([code, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ [field]: KEYS - before })]);
    await until(() => worker.told.length >= KEYS);
    expect([...worker.told].sort()).toEqual(workflowIds);
  } finally {
    await worker.stop();
  }
});

it('reconcile --file goes through the file once more, and no key is left out', async () => {
  const { source, target } = sandbox;
  const file = join(sandbox.configure({}), '..', 'keys');
  writeFileSync(file, names.join('\n'));
  await source.client.mset(Object.fromEntries(names.map((name) => [name, 'new'])));
  await sandbox.start('worker');
  const call = ['reconcile', '--file', file, '--yes'];

  await interrupted(call, async () => (await target.client.exists(...names)) >= DONE);
  expect(await target.client.exists(...names)).toBeLessThan(KEYS);

  const { code, stdout } = await sandbox.keymend(...call, '--wait', '2m');
  expect([code, stdout.split('\n')[0]]).toEqual([0, `told ${KEYS} keys to reconcile`]);
  expect(await target.client.mget(names)).toEqual(names.map(() => 'new'));
});
