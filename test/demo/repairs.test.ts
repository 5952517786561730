/** A Temporal that was given has the repairs of others as well. */
import { ulid } from 'ulid';
import { expect, it, onTestFinished } from 'vitest';
import { countRepairs, retryEscalated } from '../../src/demo/repairs.js';
import { WORKFLOW_TYPE } from '../../workflows/messages.js';
import { eventually } from '../support/eventually.js';
import { onStack } from '../support/workflow-bed.js';

const server = onStack();

it('only those of the demo itself are counted and tried again', async () => {
  const { client } = server.env;
  const since = new Date();
  const own = ulid();
  for (const [workflowId, taskQueue] of [
    [`demo:${own}`, own],
    [`demo:${ulid()}`, `${own}-other`],
    [`order:${own}`, own],
  ] as const) {
    const typedSearchAttributes = [{ key: { name: 'KeymendState', type: 'KEYWORD' as const }, value: 'escalated' }];
    const handle = await client.workflow.start(WORKFLOW_TYPE, { workflowId, taskQueue, typedSearchAttributes });
    onTestFinished(() => handle.terminate().then(() => {}));
  }
  const run = { client, taskQueue: own, since };
  await eventually(async () => expect(await countRepairs(run)).toEqual({ running: 1, closed: 0, escalated: 1 }));
  expect(await retryEscalated(run)).toBe(1);
});
