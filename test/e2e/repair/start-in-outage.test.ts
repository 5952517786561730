/** A worker that is started while a Redis of its only link is away: a deploy during an outage. */
import { once } from 'node:events';
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest';
import { startProxy } from '../../../src/stack/proxy.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';
import { freePort, startRedis } from '../../support/redis.js';

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await createSandbox();
});
afterEach(() => sandbox?.close());

async function startLater(port: number) {
  const redis = await startRedis([], { port });
  onTestFinished(() => redis.stop());
  return redis.client;
}

it('starts without its target, and heals what waited once that is there', async () => {
  const { source, producer, topic, client, prefix } = sandbox;
  const port = await freePort();
  sandbox.configure({ link: { target: { url: `redis://127.0.0.1:${port}` } } });
  const started = await sandbox.start('start');
  const lines = started.log().split('\n');
  expect(lines.filter((line) => line.includes('starts all the same'))).toEqual([
    expect.stringMatching(`"level":"warn".*target of link east-to-west .*127.0.0.1:${port}.*nothing listens there`),
  ]);
  await source.client.set('key', 'new');
  await producer.send({ topic, messages: [recordOf('key')] });
  await eventually(async () => {
    const { stdout } = await sandbox.keymend('status', 'key', '--output', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ state: 'waiting', attempts: 0 });
  });

  const target = await startLater(port);
  expect(await client.workflow.getHandle(`${prefix}key`).result()).toEqual({ outcome: 'repaired', attempts: 1 });
  expect(await target.get('key')).toBe('new');
  await started.logged('link east-to-west: source and target answer');
  expect(await started.stop()).toBe(0);
});

it('starts without its source, and repairs once that is there', async () => {
  const port = await freePort();
  sandbox.configure({ link: { source: { url: `redis://127.0.0.1:${port}` } } });
  const started = await sandbox.start('start');
  expect(started.log()).toContain('starts all the same');
  const source = await startLater(port);
  await started.logged('link east-to-west: source and target answer');
  await source.set('key', 'new');
  expect((await sandbox.keymend('reconcile', 'key')).stdout).toBe('repaired after 1 attempt\n');
  expect(await sandbox.target.client.get('key')).toBe('new');
  expect(await started.stop()).toBe(0);
});

it('ends with one line when its target turns out to be the source', async () => {
  const { port } = sandbox.source;
  const proxy = await startProxy({ target: { host: '127.0.0.1', port } });
  onTestFinished(() => proxy.close());
  proxy.cut();
  sandbox.configure({ link: { target: { url: `redis://127.0.0.1:${proxy.port}` } } });
  const started = await sandbox.start('worker');
  const ended = once(started.process, 'close');
  proxy.restore();
  expect((await ended)[0]).toBe(1);
  expect(started.log()).toMatch(/^keymend: target of link .* is the same Redis as source of link /m);
});
