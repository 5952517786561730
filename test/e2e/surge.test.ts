/** A backlog, with real bridges and workers: its keys travel in batches. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { BATCH_TYPE, type BatchStatus } from '../../workflows/batch-messages.js';
import { WORKFLOW_TYPE } from '../../workflows/messages.js';
import { compareRedis } from '../support/compare.js';
import { eventually } from '../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../support/keymend.js';

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await createSandbox();
});
afterEach(() => sandbox?.close());

async function runsOf(type: string) {
  const { client, prefix } = sandbox;
  const query = `WorkflowType = "${type}" AND KeymendLink = "${prefix.slice(0, -1)}"`;
  const runs = [];
  for await (const run of client.workflow.list({ query })) runs.push(run);
  return runs;
}

it('heals a backlog in batches of a thousand keys, and what fails by itself in a workflow of its own', async () => {
  const { source, target, producer, topic, client, prefix } = sandbox;
  const link = prefix.slice(0, -1);
  sandbox.configure({ link: { name: link, settle: '100ms' }, config: { surge: { enter: 500, leave: 10 } } });
  const keys = Array.from({ length: 2_500 }, (_, index) => `key:${index}`);
  await source.client.mset(...keys.flatMap((key) => [key, 'new']));
  // Each key failed twice, and one can't be repaired in one call.
  const large = Array.from({ length: 6_000 }, (_, index) => `${index}`);
  await source.client.rpush('large', ...large);
  for (let turn = 0; turn < 2; turn++) {
    await producer.send({ topic, messages: [...keys, 'large'].map((key) => recordOf(key, { link })) });
  }
  const started = await sandbox.start('start');
  await started.logged('surge: ');

  await eventually(async () => expect(await compareRedis(source.client, target.client)).toEqual([]));
  await eventually(async () => {
    const batches = await runsOf(BATCH_TYPE);
    expect(batches.map(({ status }) => status.name)).toEqual(batches.map(() => 'COMPLETED'));
    const results = await Promise.all(
      batches.map(({ workflowId }) => client.workflow.getHandle(workflowId).result() as Promise<BatchStatus>),
    );
    expect(results.reduce((sum, { repaired }) => sum + repaired, 0)).toBeGreaterThanOrEqual(keys.length);
    expect(results.length).toBeLessThanOrEqual(8);
  });
  const alone = await runsOf(WORKFLOW_TYPE);
  expect(alone.map(({ workflowId }) => workflowId)).toEqual([`${prefix}large`]);
  await started.logged('surge is over');
  expect(await started.stop()).toBe(0);
});
