/** What users of Temporal meet, on a real server; see README.md. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { until } from '../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../support/keymend.js';

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await createSandbox();
});
afterEach(() => sandbox?.close());

async function eventsOf(key: string) {
  const history = await sandbox.client.workflow.getHandle(sandbox.prefix + key).fetchHistory();
  return history.events ?? [];
}

// On a busy machine the second record may be there after the delay: then there was none to end.
test('a second signal ends the start delay, and the key still settles', { retry: 10 }, async () => {
  const SETTLE_MS = 6_000;
  sandbox.configure({ link: { settle: `${SETTLE_MS}ms` } });
  const { source, target, producer, topic } = sandbox;
  await source.client.set('k', 'new');
  await target.client.set('k', 'old');
  await sandbox.start('start');
  const failedAt = new Date();
  await producer.send({
    topic,
    messages: [recordOf('k', { outcome: 'unknown', failedAt: failedAt.toISOString() })],
  });
  const handle = sandbox.client.workflow.getHandle(`${sandbox.prefix}k`);
  await until(async () => (await handle.describe().catch(() => undefined)) !== undefined);
  await producer.send({ topic, messages: [recordOf('k')] });
  await handle.result();

  const events = await eventsOf('k');
  const time = (event: (typeof events)[number]) =>
    Number(event.eventTime!.seconds) * 1000 + Number(event.eventTime!.nanos) / 1e6;
  const signals = events.filter(({ workflowExecutionSignaledEventAttributes: signal }) => signal);
  expect(signals).toHaveLength(2);
  // The first task began before settle was over: the delay was gone. The first attempt did not.
  const firstTask = events.find(({ workflowTaskStartedEventAttributes: started }) => started)!;
  const firstAttempt = events.find(({ markerRecordedEventAttributes: marker }) => marker)!;
  expect(time(firstTask)).toBeLessThan(failedAt.getTime() + SETTLE_MS);
  expect(time(firstAttempt)).toBeGreaterThanOrEqual(failedAt.getTime() + SETTLE_MS);
  expect(await target.client.get('k')).toBe('new');
});

// An attempt gives up on a frozen target after two seconds. On a busy machine the worker may take
// longer to say that it drains; then there was no attempt under way to look at.
test('a worker that is told to stop ends the attempt under way first', { retry: 10 }, async () => {
  const { source, target, producer, topic } = sandbox;
  await source.client.set('k', 'new');
  await target.client.set('k', 'old');
  await sandbox.start('bridge');
  // What the library says of its worker is there for who looks.
  const worker = await sandbox.start('worker', '--log-level', 'debug');
  target.freeze();
  await producer.send({ topic, messages: [recordOf('k')] });
  // The attempt hangs on the frozen target once the workflow task has started.
  await until(async () => {
    const events = await eventsOf('k').catch(() => []);
    return events.some(({ workflowTaskStartedEventAttributes: started }) => started);
  });
  const stopped = worker.stop('SIGTERM');
  // So that the attempt is still under way when the worker takes its leave.
  await worker.logged('DRAINING');
  target.thaw();
  expect(await stopped).toBe(0);
  expect(await target.client.get('k')).toBe('new');
});
