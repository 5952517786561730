/** A worker that is killed between its repair and the second look at it. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await createSandbox();
});
afterEach(() => sandbox?.close());

class TooLate extends Error {}

it('loses only the wait: another worker mends what landed behind the repair, and verifies it', async () => {
  // Only an attempt that took less than a second looks once more by itself, and the worker must be
  // killed within that wait: on a busy machine either may come too late, and nothing is seen of it.
  for (let tries = 1; ; tries++) {
    try {
      return await killsBetweenRepairAndLook();
    } catch (error) {
      if (!(error instanceof TooLate) || tries === 10) throw error;
      await sandbox.close();
      sandbox = await createSandbox();
    }
  }
});

async function killsBetweenRepairAndLook(): Promise<void> {
  const { source, target, producer, topic, client, prefix } = sandbox;
  // As long as the wait may be that is no event of the history.
  sandbox.configure({ link: { settle: '2s' } });
  await sandbox.start('bridge');
  const killed = await sandbox.start('worker');
  await source.client.set('k', 'new');
  await target.client.set('k', 'old');
  const failedAt = new Date(Date.now() - 60_000).toISOString();
  await producer.send({ topic, messages: [recordOf('k', { outcome: 'unknown', failedAt })] });
  await eventually(async () => expect(await target.client.get('k')).toBe('new'));
  await killed.stop('SIGKILL');

  const handle = client.workflow.getHandle(`${prefix}k`);
  const { status } = await handle.describe();
  if (status.name !== 'RUNNING') throw new TooLate('it had ended');
  // The write that was on its way.
  await target.client.set('k', 'old');
  await sandbox.start('worker');
  const result = await handle.result();
  expect(result).toMatchObject({ outcome: 'repaired' });
  expect(await target.client.get('k')).toBe('new');
  const { events } = await handle.fetchHistory();
  const of = (name: 'workflowTaskTimedOutEventAttributes' | 'timerStartedEventAttributes') =>
    events!.flatMap(({ [name]: attributes }) => attributes ?? []);
  if (of('workflowTaskTimedOutEventAttributes').length === 0) throw new TooLate('the first attempt had ended');
  // Its task was made once more, and that is all of it.
  expect(result).toEqual({ outcome: 'repaired', attempts: 1 });
  expect(of('workflowTaskTimedOutEventAttributes')).toHaveLength(1);
  expect(of('timerStartedEventAttributes')).toEqual([]);
  expect(events!.flatMap(({ activityTaskScheduledEventAttributes: durable }) => durable ?? [])).toEqual([]);
}
