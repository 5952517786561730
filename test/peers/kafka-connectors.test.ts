/**
 * What users of redis-kafka-connect, KeyDB and EVCache meet, on the whole way of the data; see
 * README.md.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareRedis } from '../support/compare.js';
import { until } from '../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../support/keymend.js';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
  await sandbox.start('start');
});
afterAll(() => sandbox?.close());

/**
 * Sends records in one request, hence in one batch, and waits until the key's workflow has ended.
 */
async function repaired(key: string, ...records: ReturnType<typeof recordOf>[]): Promise<void> {
  await sandbox.producer.send({ topic: sandbox.topic, messages: records });
  const handle = sandbox.client.workflow.getHandle(sandbox.prefix + key);
  await until(async () => (await handle.describe().catch(() => undefined))?.status.name === 'COMPLETED');
}

async function differs(key: string): Promise<boolean> {
  const { source, target } = sandbox;
  const differences = await compareRedis(source.client, target.client);
  return differences.some((each) => each.key.toString() === key);
}

test('SET then DEL in one batch leaves the key absent', async () => {
  await sandbox.source.client.set('deleted', 'v');
  await sandbox.source.client.del('deleted');
  await sandbox.target.client.set('deleted', 'old');
  await repaired('deleted', recordOf('deleted', { command: 'SET' }), recordOf('deleted', { command: 'DEL' }));
  expect(await sandbox.target.client.exists('deleted')).toBe(0);
});

test('a record that is replayed adds no list entry a second time', async () => {
  await sandbox.source.client.rpush('list', 'a', 'b', 'b');
  await sandbox.target.client.rpush('list', 'a');
  const push = recordOf('list', { command: 'RPUSH' });
  await repaired('list', push, push, push);
  await repaired('list', push);
  expect(await sandbox.target.client.lrange('list', 0, -1)).toEqual(['a', 'b', 'b']);
});

test('records whose clocks contradict their order lead to the value of the source', async () => {
  await sandbox.source.client.set('skewed', 'first');
  await sandbox.source.client.set('skewed', 'second');
  await sandbox.target.client.set('skewed', 'first');
  const at = (offsetMs: number) => ({ failedAt: new Date(Date.now() + offsetMs).toISOString() });
  await repaired('skewed', recordOf('skewed', at(3_600_000)), recordOf('skewed', at(-3_600_000)));
  expect(await sandbox.target.client.get('skewed')).toBe('second');
  expect(await differs('skewed')).toBe(false);
});

test('an EXPIRE that failed brings the new expiry to the target', async () => {
  const soon = Date.now() + 600_000;
  for (const { client } of [sandbox.source, sandbox.target]) await client.set('session', 'v', 'PXAT', soon);
  await sandbox.source.client.pexpireat('session', soon + 3_600_000);
  await repaired('session', recordOf('session', { command: 'EXPIRE' }));
  expect(await sandbox.target.client.call('PEXPIRETIME', 'session')).toBe(soon + 3_600_000);
});
