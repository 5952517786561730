/** A Temporal that was given has the repairs of others as well. */
import { ulid } from 'ulid';
import { expect, it, onTestFinished } from 'vitest';
import { countRepairs, endRepairs, retryEscalated } from '../../src/demo/repairs.js';
import { WORKFLOW_TYPE } from '../../workflows/messages.js';
import { eventually } from '../support/eventually.js';
import { onStack } from '../support/workflow-bed.js';

const server = onStack();

it('only those of the demo itself are counted, tried again and ended', async () => {
  const { client } = server.env;
  const since = new Date();
  const own = ulid();
  const others: string[] = [];
  for (const [workflowId, taskQueue] of [
    [`demo:${own}`, own],
    [`demo:${ulid()}`, `${own}-other`],
    [`order:${own}`, own],
  ] as const) {
    const typedSearchAttributes = [{ key: { name: 'KeymendState', type: 'KEYWORD' as const }, value: 'escalated' }];
    const handle = await client.workflow.start(WORKFLOW_TYPE, { workflowId, taskQueue, typedSearchAttributes });
    if (workflowId !== `demo:${own}`) others.push(workflowId);
    onTestFinished(() =>
      handle.terminate().then(
        () => {},
        () => {},
      ),
    );
  }
  const run = { client, taskQueue: own, since };
  await eventually(async () => expect(await countRepairs(run)).toEqual({ running: 1, closed: 0, escalated: 1 }));
  expect(await retryEscalated(run)).toBe(1);
  await endRepairs(client, own);
  const statusOf = async (id: string) => (await client.workflow.getHandle(id).describe()).status.name;
  expect(await statusOf(`demo:${own}`)).toBe('TERMINATED');
  expect(await Promise.all(others.map(statusOf))).toEqual(['RUNNING', 'RUNNING']);
});
