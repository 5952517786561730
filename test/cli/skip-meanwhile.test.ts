/** A list of keys is read ahead: what has begun since it was read is not given up on. */
import { Client, Connection } from '@temporalio/client';
import { ulid } from 'ulid';
import { expect, onTestFinished, test } from 'vitest';
import { signalling } from '../../src/cli/bulk/signalling.js';
import { parseConfig } from '../../src/config.js';
import { SEARCH_ATTRIBUTES, skip, WORKFLOW_TYPE } from '../../workflows/messages.js';
import { stack } from '../support/services.js';

/** A key whose queue nobody reads. */
async function bed() {
  const { address } = stack().temporal;
  const connection = await Connection.connect({ address });
  onTestFinished(() => connection.close());
  const client = new Client({ connection });
  const taskQueue = `skip-${ulid()}`;
  const links = [{ name: 'a', source: { url: 'redis://a' }, target: { url: 'redis://b' } }];
  const yaml = JSON.stringify({ intake: 'redis-stream', temporal: { address, taskQueue }, links });
  const config = parseConfig(yaml, 'a test', {});
  const workflowId = ulid();
  return {
    handle: client.workflow.getHandle(workflowId),
    /** @returns it as the list shows it */
    async begin({ isEscalated }: { isEscalated: boolean }) {
      const searchAttributes = isEscalated ? { [SEARCH_ATTRIBUTES.state]: ['escalated'] } : {};
      const options = { workflowId, taskQueue, searchAttributes, args: [] };
      const { firstExecutionRunId: runId } = await client.workflow.start(WORKFLOW_TYPE, options);
      onTestFinished(async () => {
        await client.workflow
          .getHandle(workflowId, runId)
          .terminate()
          .catch(() => {});
      });
      return { workflowId, runId, taskQueue, isEscalated, key: null };
    },
    tell: signalling(client, config, { looksAgain: true }, skip, { reason: 'a test' }),
    async signals() {
      const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
      return events?.filter(({ workflowExecutionSignaledEventAttributes: told }) => told).length;
    },
  };
}

test('a run that has begun since the key was found is not skipped', async () => {
  const { begin, handle, tell, signals } = await bed();
  const found = await begin({ isEscalated: true });
  await handle.terminate();
  await begin({ isEscalated: true });
  expect(await tell(found)).toEqual({ kind: 'gone' });
  expect(await signals()).toBe(0);
});

test('a key that is tried again since it was found is not skipped', async () => {
  const { begin, tell, signals } = await bed();
  const found = await begin({ isEscalated: false });
  expect(await tell({ ...found, isEscalated: true })).toEqual({ kind: 'gone' });
  expect(await signals()).toBe(0);
});

test('one that is as it was found is skipped, and one that is over is not', async () => {
  const { begin, handle, tell, signals } = await bed();
  const found = await begin({ isEscalated: true });
  expect(await tell(found)).toEqual({ kind: 'told', wasEscalated: true });
  expect(await signals()).toBe(1);
  await handle.terminate();
  expect(await tell(found)).toEqual({ kind: 'gone' });
});
