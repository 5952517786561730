/** Another service asks and tells keymend through Temporal alone. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Client } from '@temporalio/client';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { KeymendClient } from '../../src/client/index.js';
import { linkPolicy, parseConfig } from '../../src/config.js';
import type { sweep } from '../../workflows/sweep.js';
import { pause, resume, sweepWorkflowId } from '../../workflows/sweep-messages.js';
import { eventually, NET_MS } from '../support/eventually.js';
import { createSandbox, type Sandbox } from '../support/keymend.js';

let sandbox: Sandbox;
let keymend: KeymendClient;
let link: string;
beforeAll(async () => {
  sandbox = await createSandbox();
  link = sandbox.prefix.slice(0, -1);
  sandbox.configure({ link: { name: link } });
  keymend = clientOf(sandbox);
  await sandbox.start('worker');
});
afterAll(() => sandbox?.close());

function clientOf(
  { client, prefix }: Pick<Sandbox, 'client' | 'prefix'>,
  options: { timeoutMs?: number; taskQueue?: string } = {},
) {
  const retry = { maximumAttempts: 1, initialIntervalMs: 100, backoffCoefficient: 1, maximumIntervalMs: 100 };
  return new KeymendClient({
    client,
    taskQueue: `keymend-${prefix.slice(0, -1)}`,
    links: { [prefix.slice(0, -1)]: { workflowIdPrefix: prefix, policy: { settleMs: 100, retry } } },
    timeoutMs: NET_MS,
    ...options,
  });
}

/** Its keys fail at once, and for as long as it is so. */
async function whileReadOnly(): Promise<{ over(): Promise<void> }> {
  const { client } = sandbox.target;
  await client.replicaof('127.0.0.1', 1);
  const over = async () => {
    await client.replicaof('NO', 'ONE');
  };
  onTestFinished(over);
  return { over };
}

it('reconciles a key that differs although nothing of it was under way, whatever its bytes', async () => {
  for (const key of ['user:1', Buffer.from([0xff, 0x00, 0x0a])]) {
    expect(await keymend.status(link, key)).toBeNull();
    await sandbox.source.client.set(key, 'new');
    expect(await keymend.reconcileNow(link, key)).toEqual({ outcome: 'repaired', attempts: 1 });
    expect(await sandbox.target.client.get(key)).toBe('new');
    expect(await keymend.status(link, key)).toMatchObject({ state: 'done', lastOutcome: 'repaired' });
    expect(await keymend.reconcileNow(link, key)).toEqual({ outcome: 'equal', attempts: 1 });
  }
});

it('is told why a reconcile failed, finds the key among the escalated ones, and has it tried again', async () => {
  await sandbox.source.client.set('user:2', 'new');
  const outage = await whileReadOnly();
  await expect(keymend.reconcileNow(link, 'user:2')).rejects.toMatchObject({
    name: 'KeymendClientError',
    type: 'TargetReadOnly',
  });
  const escalated = async (only: { link?: string; error?: string }) => {
    const found = [];
    for await (const { workflowId, link, error } of keymend.escalations(only)) found.push({ workflowId, link, error });
    return found;
  };
  const it = { workflowId: `${sandbox.prefix}user:2`, link, error: 'TargetReadOnly' };
  await eventually(async () => expect(await escalated({ link })).toEqual([it]));
  expect(await escalated({ link, error: 'TargetReadOnly' })).toEqual([it]);
  expect(await escalated({ link, error: 'NoPermission' })).toEqual([]);
  expect(await escalated({ link: `${link}' OR WorkflowType != '` })).toEqual([]);
  expect(await keymend.statusOf(it.workflowId)).toMatchObject({ key: 'user:2', state: 'escalated' });

  await outage.over();
  await keymend.retry(link, 'user:2');
  await eventually(async () => expect(await sandbox.target.client.get('user:2')).toBe('new'));
  await eventually(async () => expect(await keymend.status(link, 'user:2')).toMatchObject({ state: 'done' }));
});

it('gives up on a key with a reason', async () => {
  await sandbox.source.client.set('user:3', 'new');
  await whileReadOnly();
  await expect(keymend.reconcileNow(link, 'user:3')).rejects.toMatchObject({ type: 'TargetReadOnly' });
  await keymend.skip(link, 'user:3', 'the key is not needed');
  const skipped = { lastOutcome: 'skipped', skipReason: 'the key is not needed' };
  await eventually(async () => expect(await keymend.status(link, 'user:3')).toMatchObject(skipped));
});

it('is told that a run was ended before its end, and plans nothing more', async () => {
  await sandbox.source.client.set('user:5', 'new');
  const outage = await whileReadOnly();
  await expect(keymend.reconcileNow(link, 'user:5')).rejects.toMatchObject({ type: 'TargetReadOnly' });
  expect(await keymend.status(link, 'user:5')).toMatchObject({ state: 'escalated', nextRetry: expect.any(String) });
  const workflowId = `${sandbox.prefix}user:5`;
  await sandbox.client.workflow.getHandle(workflowId).terminate('a test');
  await outage.over();
  const ended = { state: 'terminated', nextRetry: null, outage: null, lastError: { type: 'TargetReadOnly' } };
  expect(await keymend.status(link, 'user:5')).toMatchObject(ended);
  expect(await keymend.statusOf(workflowId)).toMatchObject(ended);
});

it('is told when nothing is under way, and that the keys of keymend are its own', async () => {
  for (const tell of [() => keymend.retry(link, 'nobody'), () => keymend.skip(link, 'nobody', 'why')]) {
    await expect(tell()).rejects.toMatchObject({ type: 'NotRunning' });
  }
  await expect(keymend.statusOf('nobody')).rejects.toMatchObject({ type: 'NotRunning' });
  await expect(keymend.reconcileNow(link, 'keymend:outbox')).rejects.toMatchObject({ type: 'ReservedKey' });
});

it('is told that a batch which does not answer may have the key', async () => {
  const taskQueue = `nobody-${link}`;
  // That of the sandbox gives each query an end of its own.
  const client = new Client({ connection: sandbox.client.connection });
  const asking = new KeymendClient({ client, taskQueue, links: { shop: {} }, timeoutMs: 20_000 });
  const options = { workflowId: `${taskQueue}/batch`, taskQueue, memo: { link: 'shop' }, args: [] };
  const batch = await sandbox.client.workflow.start('reconcileBatch', options);
  onTestFinished(async () => {
    await batch.terminate();
  });
  await eventually(async () => {
    for (const tell of [() => asking.retry('shop', 'k'), () => asking.skip('shop', 'k', 'why')])
      await expect(tell()).rejects.toMatchObject({
        type: 'NoAnswer',
        message: expect.stringMatching(/^a batch of link/),
      });
  });
});

it('is told when no worker answers, and what it asked for is done by the next one', async () => {
  const lonely = await createSandbox();
  onTestFinished(() => lonely.close());
  // That of the sandbox gives each query an end of its own.
  const client = new Client({ connection: lonely.client.connection });
  const nobody = clientOf({ client, prefix: lonely.prefix }, { timeoutMs: 3_000 });
  const its = lonely.prefix.slice(0, -1);
  lonely.configure({ link: { name: its } });
  await lonely.source.client.set('user:4', 'new');
  // Temporal itself may take longer than that.
  await eventually(async () => {
    await expect(nobody.reconcileNow(its, 'user:4')).rejects.toMatchObject({ type: 'NoAnswer' });
    await lonely.client.workflow.getHandle(`${lonely.prefix}user:4`).describe();
  });
  await expect(nobody.status(its, 'user:4')).rejects.toMatchObject({ type: 'NoAnswer' });
  await lonely.start('worker');
  await eventually(async () => expect(await lonely.target.client.get('user:4')).toBe('new'));
});

it('starts a key of a database with the policy of a cache, as keymend.yaml has it', async () => {
  const links = { shop: { workflowIdPrefix: sandbox.prefix, source: 'mysql' } } as const;
  const asking = new KeymendClient({ client: sandbox.client, taskQueue: `nobody-${link}`, links, timeoutMs: 1_000 });
  await expect(asking.reconcileNow('shop', 'row:1')).rejects.toMatchObject({ type: 'NoAnswer' });
  const handle = sandbox.client.workflow.getHandle(`${sandbox.prefix}row:1`);
  const [started] = (await handle.fetchHistory()).events!;
  await handle.terminate();
  const { data } = started!.workflowExecutionStartedEventAttributes!.input!.payloads![0]!;
  const mappings = [{ key: 'row:{id}', query: 'SELECT a FROM t WHERE id = :id', value: { string: 'a' } }];
  const shop = { name: 'shop', source: { mysql: { url: 'mysql://h/d' } }, target: { url: 'redis://h' }, mappings };
  const config = parseConfig(JSON.stringify({ kafka: { brokers: ['h:1'] }, links: [shop] }), 'the test', {});
  expect(JSON.parse(String(data)).policy).toEqual(linkPolicy(config.links[0]!));
});

it('has a link compared as a whole, and joins a sweep that is under way', async () => {
  await sandbox.source.client.set('swept', 'new');
  const sweep = await keymend.sweep(link, { repair: true, rate: 1 });
  const other = await keymend.sweep(link);
  expect([sweep.isJoined, other.isJoined]).toEqual([false, true]);
  expect(other.workflowId).toBe(sweep.workflowId);
  expect((await other.progress()).options).toMatchObject({ repair: true });
  const [result, its] = await Promise.all([sweep.result(), other.result()]);
  expect(its).toEqual(result);
  expect(result).toMatchObject({ outcome: 'equal', unhealed: 0 });
  expect(await sandbox.target.client.get('swept')).toBe('new');
});

it('tells how far a sweep is that was joined, also once it goes on as another run', async () => {
  const long = await sandbox.client.workflow.signalWithStart<typeof sweep>('sweep', {
    workflowId: sweepWorkflowId(link),
    taskQueue: `keymend-${link}`,
    args: [{ link, settleMs: 50, historyEventsPerRun: 25 }],
    signal: pause,
  });
  const joined = await keymend.sweep(link);
  expect(joined.isJoined).toBe(true);
  const { runId } = await long.describe();
  await eventually(async () => {
    await long.signal(pause);
    expect((await long.describe()).historyLength).toBeGreaterThan(25);
  });
  await long.signal(resume);
  expect(await joined.result()).toMatchObject({ outcome: 'equal' });
  expect((await long.describe()).runId).not.toBe(runId);
  expect(await joined.progress()).toMatchObject({ state: 'done' });
});

it('tells a workflow of somebody else nothing', async () => {
  const workflowId = `${sandbox.prefix}order:42`;
  const foreign = await sandbox.client.workflow.start('OrderWorkflow', { workflowId, taskQueue: 'orders' });
  const events = async () => (await foreign.fetchHistory()).events!.length;
  const before = await events();
  for (const ask of [
    () => keymend.status(link, 'order:42'),
    () => keymend.retry(link, 'order:42'),
    () => keymend.skip(link, 'order:42', 'why'),
    () => keymend.reconcileNow(link, 'order:42'),
  ]) {
    await expect(ask()).rejects.toMatchObject({
      type: 'WorkflowIdTaken',
      message: expect.stringContaining('OrderWorkflow'),
    });
  }
  expect(await events()).toBe(before);
  await foreign.terminate();
  expect(await keymend.status(link, 'order:42')).toBeNull();
});

it('loads neither a worker nor a client of Redis or Kafka', () => {
  const client = fileURLToPath(new URL('../../dist/src/client/index.js', import.meta.url));
  // All of these are CommonJS, which Node lists once it is loaded.
  const script = `
    await import(${JSON.stringify(client)});
    console.log(JSON.stringify(Object.keys((await import('node:module')).default._cache)));
  `;
  const loaded: string[] = JSON.parse(
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }),
  );
  expect(loaded.join('\n')).toContain('@temporalio/client');
  expect(
    loaded.filter((path) => /@temporalio.(worker|core-bridge)|node_modules.(webpack|ioredis|kafkajs)/.test(path)),
  ).toEqual([]);
});
