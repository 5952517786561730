/** From a key that can't be repaired to a message; and a webhook stands in the way of nothing. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { verifyWebhook } from '../../../src/webhook/signature.js';
import { noticesWorkflowId, retry } from '../../../workflows/notices-messages.js';
import { until } from '../../support/eventually.js';
import { createSandbox, type Running, recordOf, type Sandbox } from '../../support/keymend.js';
import { type Receiver, startReceiver } from '../../support/webhook-receiver.js';

let sandbox: Sandbox;
let receiver: Receiver;
let link: string;
beforeEach(async () => {
  [sandbox, receiver] = await Promise.all([createSandbox(), startReceiver()]);
  // The workflow that tells is one for each link, and the stack serves other tests as well.
  link = `link-${sandbox.prefix.slice(0, -1)}`;
});
afterEach(async () => {
  await sandbox?.close();
  await receiver?.close();
});

async function start(webhook: object = {}): Promise<Running> {
  sandbox.configure({
    link: {
      name: link,
      retry: { maximumAttempts: 1 },
      escalation: {
        retryEvery: '1h',
        webhook: { url: receiver.url, secret: 'S3CRET', allowPrivate: true, gather: '3s', ...webhook },
      },
    },
  });
  return sandbox.start('start');
}

async function escalate(...keys: string[]): Promise<void> {
  const { source, target, producer, topic } = sandbox;
  await target.client.replicaof('127.0.0.1', '1');
  for (const key of keys) await source.client.set(key, 'VALUE');
  await producer.send({ topic, messages: keys.map((key) => recordOf(key, { link })) });
}

const notices = () => sandbox.client.workflow.getHandle(noticesWorkflowId(link));

it('twenty keys with one cause are one signed message, and neither value nor secret is anywhere else', async () => {
  const running = await start();
  await escalate(...Array.from({ length: 20 }, (_, n) => `user:${n}`));
  await allTold();
  const told = receiver.received.map(({ body }) => JSON.parse(body) as { keys: number });
  expect(told.reduce((sum, { keys }) => sum + keys, 0)).toBe(20);
  expect(told.length).toBeLessThan(4);
  expect(told[0]).toMatchObject({ kind: 'escalations', link, errorType: 'TargetReadOnly' });
  const [{ body, headers }] = receiver.received as [Receiver['received'][number]];
  expect(verifyWebhook(body, String(headers['x-keymend-signature']), 'S3CRET')).toBe(true);
  const history = JSON.stringify(await notices().fetchHistory());
  for (const text of [history, running.log()]) expect(text).not.toMatch(/S3CRET|secret-path/);
  for (const text of [history, running.log(), body]) expect(text).not.toContain('VALUE');

  async function allTold(): Promise<void> {
    const all = () => receiver.received.reduce((sum, { body }) => sum + (JSON.parse(body) as { keys: number }).keys, 0);
    await until(() => all() >= 20);
    await until(async () => (await notices().describe()).status.name === 'COMPLETED');
  }
});

it('a webhook that is away holds up no repair; it gets what was gathered when it is back', async () => {
  await receiver.close();
  const running = await start();
  await escalate('a');
  await running.logged('ECONNREFUSED. It is tried again; repairs go on');
  await until(async () => (await sandbox.keymend('status')).stdout.includes('ECONNREFUSED; nobody is told since'));
  await sandbox.target.client.replicaof('NO', 'ONE');
  await sandbox.keymend('retry', 'a');
  await until(async () => (await sandbox.target.client.get('a')) === 'VALUE');
  receiver = await startReceiver(receiver.port);
  // It may be between two tries.
  await until(async () => {
    await notices()
      .signal(retry)
      .catch(() => {});
    return receiver.received.length > 0;
  });
  expect(JSON.parse(receiver.received[0]!.body)).toMatchObject({ errorType: 'TargetReadOnly', keys: 1 });
});

it('an outage is one message at its beginning and one at its end', async () => {
  await start();
  const { source, target, producer, topic } = sandbox;
  await source.client.set('k', 'VALUE');
  target.freeze();
  await producer.send({ topic, messages: [recordOf('k', { link })] });
  const kinds = () => receiver.received.map(({ body }) => JSON.parse(body) as { kind: string; until: string | null });
  try {
    await until(() => kinds().length === 1);
  } finally {
    target.thaw();
  }
  await until(() => kinds().length === 2);
  expect(kinds()).toMatchObject([
    { kind: 'outage', until: null },
    { kind: 'outage', until: expect.any(String) },
  ]);
  await until(async () => (await target.client.get('k')) === 'VALUE');
});
