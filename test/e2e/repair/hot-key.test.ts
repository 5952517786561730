/** A key that fails all the time, with a real worker. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';

const FAILS_FOR_MS = 8_000;
/** On a busy machine there are fewer writes than tasks in that time. */
const MORE_THAN_TASKS = 50;

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await createSandbox();
});
afterEach(() => sandbox?.close());

it('costs at most one workflow task a second beside a few at the beginning of each run, and ends equal', async () => {
  const { source, target, producer, topic, client, prefix } = sandbox;
  await sandbox.start('start');
  const begunAt = performance.now();
  let written = 0;
  while (performance.now() - begunAt < FAILS_FOR_MS || written < MORE_THAN_TASKS) {
    await source.client.set('hot', ++written);
    await producer.send({ topic, messages: Array.from({ length: 20 }, () => recordOf('hot', { outcome: 'unknown' })) });
  }
  const workflowId = `${prefix}hot`;
  await eventually(async () => expect(await target.client.get('hot')).toBe(`${written}`));
  await eventually(async () => {
    const { status } = await client.workflow.getHandle(workflowId).describe();
    expect(status.name).toBe('COMPLETED');
  });
  let [runs, tasks] = [0, 0];
  for await (const { runId } of client.workflow.list({ query: `WorkflowId = "${workflowId}"` })) {
    const { events } = await client.workflow.getHandle(workflowId, runId).fetchHistory();
    runs += 1;
    tasks += events!.filter((event) => event.workflowTaskCompletedEventAttributes).length;
  }
  const seconds = (performance.now() - begunAt) / 1_000;
  // A look every four seconds, a signal every two. In each run three come at once before that pace;
  // on a busy machine one may end before the next failed write is there.
  expect(tasks).toBeLessThanOrEqual(3 + 4 * runs + seconds);
  expect(written * 20).toBeGreaterThan(20 * tasks);
});
