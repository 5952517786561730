/** How old the oldest repair is, as a real Temporal says it. */
import { Connection, WorkflowClient } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { ulid } from 'ulid';
import { expect, it, onTestFinished } from 'vitest';
import { openWorkflows } from '../../src/temporal/open-workflows.js';
import { BATCH_TYPE } from '../../workflows/batch-messages.js';
import { SEARCH_ATTRIBUTES, WORKFLOW_TYPE } from '../../workflows/messages.js';
import { eventually } from '../support/eventually.js';
import { stack } from '../support/services.js';

const STATE = defineSearchAttributeKey(SEARCH_ATTRIBUTES.state, 'KEYWORD');

/** Nobody reads its queue: what is started is open until the end of the test. */
async function bed() {
  const connection = await Connection.connect({ address: stack().temporal.address });
  onTestFinished(() => connection.close());
  const client = new WorkflowClient({ connection });
  const taskQueue = `open-workflows-${ulid()}`;
  /** @returns when it had started at the latest, and what ends it */
  const start = async (type: string, state?: string) => {
    const typedSearchAttributes = state === undefined ? [] : [{ key: STATE, value: state }];
    const handle = await client.start(type, { workflowId: ulid(), taskQueue, args: [], typedSearchAttributes });
    onTestFinished(async () => {
      await handle.terminate().catch(() => {});
    });
    return { handle, startedBy: Date.now() };
  };
  return { start, look: () => openWorkflows(client, taskQueue) };
}

it('a batch that is open for longer than every key is the oldest repair', async () => {
  const { start, look } = await bed();
  const batch = await start(BATCH_TYPE);
  await eventually(async () => {
    const { byType, oldestRepairMs } = await look();
    expect(byType).toMatchObject({ [BATCH_TYPE]: 1, [WORKFLOW_TYPE]: 0 });
    expect(oldestRepairMs).toBeGreaterThan(0);
  });
  await start(WORKFLOW_TYPE);
  await eventually(async () => {
    const ageOf = Date.now() - batch.startedBy;
    const { byType, oldestRepairMs } = await look();
    expect(byType).toMatchObject({ [BATCH_TYPE]: 1, [WORKFLOW_TYPE]: 1 });
    expect(oldestRepairMs).toBeGreaterThanOrEqual(ageOf);
  });
  await batch.handle.terminate();
  await eventually(async () => {
    const { byType, oldestRepairMs } = await look();
    expect(byType).toMatchObject({ [BATCH_TYPE]: 0, [WORKFLOW_TYPE]: 1 });
    expect(oldestRepairMs).toBeLessThan(Date.now() - batch.startedBy);
  });
});

it('a namespace whose attribute is a Text does not say that no key waits', async () => {
  const connection = await Connection.connect({ address: stack().temporal.address });
  const { workflowService, operatorService } = connection;
  const namespace = `text-${ulid().toLowerCase()}`;
  await workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: { seconds: 86_400 as never },
  });
  onTestFinished(async () => {
    await operatorService.deleteNamespace({ namespace });
    await connection.close();
  });
  const TEXT = 1;
  const searchAttributes = { [SEARCH_ATTRIBUTES.state]: TEXT };
  await eventually(() => operatorService.addSearchAttributes({ namespace, searchAttributes }));
  const client = new WorkflowClient({ connection, namespace });
  await eventually(async () => {
    // As long as the server does not know the attribute yet it refuses the question.
    expect((await client.count(`${SEARCH_ATTRIBUTES.state} = "escalated"`)).count).toBe(0);
  });
  expect(await openWorkflows(client, 'nobody')).toMatchObject({ escalated: null });
});

it('a key that waits for somebody is no repair that is slow', async () => {
  const { start, look } = await bed();
  await start(WORKFLOW_TYPE, 'escalated');
  await eventually(async () => expect(await look()).toMatchObject({ escalated: 1, oldestRepairMs: 0 }));
});
