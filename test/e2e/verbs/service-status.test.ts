/** What `keymend status` says of keymend itself. */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { packageVersion } from '../../../src/cli/package-version.js';
import type { ServicesReport } from '../../../src/cli/status/service-status.js';
import { until } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';
import { freePort } from '../../support/redis.js';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
});
afterAll(() => sandbox?.close());

async function report(): Promise<ServicesReport> {
  const { stdout, code } = await sandbox.keymend('status', '--output', 'json');
  expect(code).toBe(0);
  return JSON.parse(stdout) as ServicesReport;
}

it('counts what is under way, workers and bridges', async () => {
  sandbox.configure({ link: { retry: { maximumAttempts: 1 } } });
  const taskQueue = `keymend-${sandbox.prefix.slice(0, -1)}`;
  const { source, target, producer, topic } = sandbox;
  const running = await sandbox.start('start');
  await source.client.mset('a', '1', 'asked-for', '1');
  await target.client.replicaof('127.0.0.1', 1);
  await producer.send({ topic, messages: [recordOf('a')] });
  await until(async () => (await report()).workflows.escalated === 1);
  expect(await report()).toMatchObject({
    workflows: { running: 1, escalated: 1, problem: null },
    workers: { taskQueue, count: 1, versions: [packageVersion()], problem: null },
    bridges: { count: 1, versions: [packageVersion()], problem: null },
  });
  await expectSinceWhen('asked-for');
  const { stdout } = await sandbox.keymend('status');
  expect(stdout).toMatch(/^ {2}1 key under way, 1 escalated$/m);
  expect(stdout).toMatch(/^ {2}1 worker asks for work on the task queue \S+ \(version [\d.]+\)$/m);
  expect(stdout).toMatch(/^ {2}1 bridge reads failed writes \(version [\d.]+\)$/m);
  await target.client.replicaof('NO', 'ONE');
  expect(await running.stop()).toBe(0);
  expect((await report()).bridges).toEqual({ count: 0, versions: [], problem: null });
  await sandbox.client.workflow.getHandle(`${sandbox.prefix}a`).terminate();
});

/** Also of a key of which no failed write tells. */
async function expectSinceWhen(key: string): Promise<void> {
  const begunAt = Date.now();
  expect(await sandbox.keymend('reconcile', key)).toMatchObject({ code: 1 });
  const handle = sandbox.client.workflow.getHandle(`${sandbox.prefix}${key}`);
  await until(async () => (await report()).workflows.escalated === 2);
  const { stdout } = await sandbox.keymend('escalations', '-l', 'east-to-west');
  const [, since] = new RegExp(`^${key} {2}\\(link east-to-west, asked for since (\\S+), `, 'm').exec(stdout) ?? [];
  expect(Date.parse(since!)).toBeGreaterThanOrEqual(begunAt);
  await handle.terminate();
  await until(async () => (await report()).workflows.running === 1);
}

it('counts the bridges that read outboxes', async () => {
  sandbox.configure({ config: { intake: 'redis-stream' } });
  expect((await report()).bridges).toEqual({
    count: null,
    versions: [],
    problem: expect.stringContaining('no source has an outbox'),
  });
  const { client } = sandbox.source;
  await client.xadd('keymend:outbox', '*', 'value', recordOf('b').value);
  expect((await report()).bridges).toEqual({ count: 0, versions: [], problem: null });
  const running = await sandbox.start('start');
  await until(async () => (await report()).bridges.count === 1);
  expect((await report()).bridges.versions).toEqual([packageVersion()]);
  expect(await running.stop()).toBe(0);
});

it('says of each part that can’t be asked that it can’t, and shows the rest', async () => {
  const path = sandbox.configure({ kafka: { brokers: [`127.0.0.1:${await freePort()}`] } });
  const nobody = `127.0.0.1:${await freePort()}`;
  writeFileSync(path, readFileSync(path, 'utf8').replace(/address: .*/, `address: ${nobody}`));
  const { stdout, stderr, code } = await sandbox.keymend('status');
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/source \(\S+\) is a master with \d+ keys?$/m);
  expect(stdout).toMatch(/^ {2}how many keys are under way is not known: Temporal at /m);
  expect(stdout).toMatch(/^ {2}whether a worker runs is not known: Temporal at /m);
  expect(stdout).toMatch(/^ {2}whether a bridge runs is not known: Kafka at \S+ does not say: /m);
});
