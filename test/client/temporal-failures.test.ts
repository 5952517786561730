/** What another service is told when Temporal itself does not do as it is asked. */
import { createServer } from 'node:net';
import { Client, Connection } from '@temporalio/client';
import { expect, it, onTestFinished } from 'vitest';
import { KeymendClient } from '../../src/client/index.js';
import { stack } from '../support/services.js';

async function clientAt(address: string, namespace: string, more: object = {}): Promise<KeymendClient> {
  const connection = Connection.lazy({ address });
  onTestFinished(() => connection.close());
  return new KeymendClient({ client: new Client({ connection, namespace }), ...more });
}

/** All that can be asked without a worker. */
function everything(keymend: KeymendClient): readonly (() => Promise<unknown>)[] {
  return [
    () => keymend.status('a', 'k'),
    () => keymend.statusOf('k'),
    () => keymend.reconcileNow('a', 'k'),
    () => keymend.retry('a', 'k'),
    () => keymend.skip('a', 'k', 'why'),
    () => keymend.sweep('a'),
    () => keymend.escalations().next(),
  ];
}

it('a Temporal that does not answer is not waited for without end', async () => {
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer((socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const keymend = await clientAt(`127.0.0.1:${port}`, 'default', { timeoutMs: 1_000 });
  for (const ask of everything(keymend))
    await expect(ask()).rejects.toMatchObject({ name: 'KeymendClientError', type: 'NoAnswer' });
});

it('a Temporal that refuses is told of with its reason', async () => {
  const keymend = await clientAt(stack().temporal.address, 'nobodys-namespace');
  for (const ask of everything(keymend))
    await expect(ask()).rejects.toMatchObject({ name: 'KeymendClientError', type: 'TemporalFailed' });
});
