/** A key of which far more failed writes wait than of any other. */
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { mergeWrites } from '../../src/bridge/merge.js';
import * as messages from '../../workflows/messages.js';
import { failedWrite, inputOf, onStack, Script, startKey, workerFor } from '../support/workflow-bed.js';

const server = onStack();

const BATCHES = 200;
const WRITES_OF_BATCH = 500;

// Temporal gives a task ten seconds; a machine that does other things meanwhile takes longer.
test('100,000 failed writes that waited for a worker are taken within one task', { retry: 5 }, async () => {
  const script = new Script(server.env, 'repaired');
  const taskQueue = `hot-key-${randomUUID()}`;
  let made = 0;
  const next = () => failedWrite({ command: 'HSET', members: [`field:${made++ % 900}`] });
  const handle = await startKey(server.env.client, taskQueue, { events: [next()] });
  // As the bridge sends them.
  const signal = () =>
    handle.signal(messages.failedWrites, [mergeWrites(Array.from({ length: WRITES_OF_BATCH }, next))]);
  for (let sent = 0; sent < BATCHES; sent += 20) await Promise.all(Array.from({ length: 20 }, signal));

  const worker = await workerFor(script, taskQueue);
  await worker.runUntil(() => handle.result());
  const [{ request } = { request: null }] = script.requests;
  expect(script.requests).toHaveLength(1);
  expect(request!.hint.members.utf8).toHaveLength(900);

  // So long a history is not gone on with; the next run has all that waited.
  const { carried } = await inputOf(server.env, handle);
  expect(carried?.pending).toMatchObject({ count: BATCHES * WRITES_OF_BATCH + 1 });
  const { events } = await server.env.client.workflow
    .getHandle(handle.workflowId, handle.firstExecutionRunId)
    .fetchHistory();
  const tasks = events!.flatMap((event) => Object.keys(event).filter((name) => name.startsWith('workflowTask')));
  for (const end of ['Failed', 'TimedOut']) expect(tasks).not.toContain(`workflowTask${end}EventAttributes`);
  expect(tasks.filter((name) => name === 'workflowTaskCompletedEventAttributes')).toHaveLength(1);
});
