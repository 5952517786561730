/** A backlog, with real bridges and workers: its keys travel in batches. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { KeymendClient } from '../../../src/client/index.js';
import { BATCH_TYPE, type BatchInput, type BatchStatus } from '../../../workflows/batch-messages.js';
import { WORKFLOW_TYPE } from '../../../workflows/messages.js';
import { generatedCases } from '../../support/cases.js';
import { compareRedis } from '../../support/compare.js';
import { eventually, NET_MS } from '../../support/eventually.js';
import { createSandbox, type Running, recordOf, type Sandbox } from '../../support/keymend.js';

/**
 * Of those whose bridges and workers are killed; 100,000 in a full run, and a kill for each 5,000.
 */
const KILLED_KEYS = Math.min(100_000, 50 * generatedCases(100));
const KILLS = Math.max(2, KILLED_KEYS / 5_000);
const LONG_MS = 60 * 60_000;

const SURGE = { surge: { enter: 100, leave: 10 } };

let sandbox: Sandbox;
let link: string;
beforeEach(async () => {
  sandbox = await createSandbox();
  link = sandbox.prefix.slice(0, -1);
});
afterEach(() => sandbox?.close());

const keysOf = (count: number) => Array.from({ length: count }, (_, index) => `key:${index}`);

async function writeNew(keys: readonly string[]): Promise<void> {
  for (let begin = 0; begin < keys.length; begin += 10_000) {
    await sandbox.source.client.mset(...keys.slice(begin, begin + 10_000).flatMap((key) => [key, 'new']));
  }
}

async function fail(keys: readonly string[]): Promise<void> {
  const { producer, topic } = sandbox;
  for (let begin = 0; begin < keys.length; begin += 2_000) {
    const part = keys.slice(begin, begin + 2_000);
    await producer.send({ topic, messages: part.map((key) => recordOf(key, { link })) });
  }
}

async function runsOf(type: string) {
  const runs = [];
  const query = `WorkflowType = "${type}" AND KeymendLink = "${link}"`;
  for await (const run of sandbox.client.workflow.list({ query })) runs.push(run);
  return runs;
}

/** When none is under way any more. */
async function ended(): Promise<BatchStatus[]> {
  await eventually(async () => {
    const batches = await runsOf(BATCH_TYPE);
    expect(batches.length).toBeGreaterThan(0);
    expect(batches.map(({ status }) => status.name)).toEqual(batches.map(() => 'COMPLETED'));
  });
  const { workflow } = sandbox.client;
  return Promise.all((await runsOf(BATCH_TYPE)).map(({ workflowId }) => workflow.getHandle(workflowId).result()));
}

async function untilEqual(): Promise<void> {
  const { source, target } = sandbox;
  await eventually(async () => expect(await compareRedis(source.client, target.client)).toEqual([]));
}

it('heals a backlog in batches of a thousand keys, and what fails by itself in a workflow of its own', async () => {
  const { source, prefix } = sandbox;
  sandbox.configure({ link: { name: link }, config: SURGE });
  const keys = keysOf(2_500);
  await writeNew(keys);
  // Too large for one call.
  await source.client.rpush('large', ...keysOf(6_000));
  // Each key failed twice.
  for (let turn = 0; turn < 2; turn++) await fail([...keys, 'large']);
  const started = await sandbox.start('start');
  await started.logged('surge: ');
  await untilEqual();
  const batches = await ended();
  expect(batches.length).toBeLessThanOrEqual(8);
  expect(batches.reduce((sum, { repaired }) => sum + repaired, 0)).toBeGreaterThanOrEqual(keys.length);
  expect((await runsOf(WORKFLOW_TYPE)).map(({ workflowId }) => workflowId)).toEqual([`${prefix}large`]);
  await started.logged('surge is over');
  // Each key counts once, however often it failed; about, and whichever lane it took.
  const { links } = JSON.parse((await sandbox.keymend('status', '--output', 'json')).stdout);
  expect(links[0].failingKeys.lastDay / (keys.length + 1)).toBeCloseTo(1, 1);
});

it('a thousand keys wait for a server that is out as one, shown by `status`, and heal when it is back', async () => {
  const { target } = sandbox;
  sandbox.configure({ link: { name: link, retry: { maximumAttempts: 2, initialInterval: '100ms' } }, config: SURGE });
  const keys = keysOf(1_000);
  await writeNew(keys);
  target.freeze();
  await fail(keys);
  await sandbox.start('start');
  await eventually(async () => {
    const { stdout } = await sandbox.keymend('status', '--output', 'json');
    const { batches, outages } = JSON.parse(stdout);
    expect(outages.outages).toMatchObject([{ link, shard: `127.0.0.1:${target.port}` }]);
    expect(batches.batches.map(({ state }: BatchStatus) => state)).toEqual(batches.batches.map(() => 'waiting'));
    expect(batches.batches.reduce((sum: number, batch: BatchStatus) => sum + batch.keys, 0)).toBe(keys.length);
  });
  // It may be at its next try just when it is asked.
  await eventually(async () => {
    const { stdout } = await sandbox.keymend('status');
    expect(stdout).toMatch(/surge: (\d+) batch(es)? under way \(\1 of link \w+\), 0 of 1000 keys healed, \d+ wait/);
  });
  // One of them, which has no workflow of its own.
  const one = await eventually(async () => {
    const { stdout } = await sandbox.keymend('status', 'key:7', '--link', link, '--output', 'json');
    const found = JSON.parse(stdout);
    expect(found).toMatchObject({ key: 'key:7', link, state: 'waiting', pending: 1, workflow: 'RUNNING' });
    return found;
  });
  expect(one.workflowId).toMatch(new RegExp(`^keymend/batch/${link}/`));
  expect(one.outage.shard).toBe(`127.0.0.1:${target.port}`);
  expect(one.batch).toMatchObject({ healed: 0, handedOver: 0 });
  expect((await sandbox.keymend('status', 'key:7')).stdout).toMatch(/^in a batch +of \d+ keys, 0 of them healed$/m);
  const keymend = new KeymendClient({
    client: sandbox.client,
    taskQueue: `keymend-${link}`,
    links: { [link]: { workflowIdPrefix: sandbox.prefix } },
    timeoutMs: NET_MS,
  });
  await eventually(async () => {
    const told = await keymend.status(link, 'key:7');
    expect(told).toMatchObject({ key: 'key:7', link, state: 'waiting', pending: 1, outage: one.outage });
  });
  // A batch takes no word about one of its keys.
  for (const verb of [['retry'], ['skip', '--reason', 'a test']]) {
    const { code, stderr } = await sandbox.keymend(...verb, 'key:7', '--link', link);
    expect([code, stderr]).toEqual([1, expect.stringContaining(`travels in batch ${one.workflowId}, `)]);
  }
  await expect(keymend.retry(link, 'key:7')).rejects.toMatchObject({
    type: 'NotRunning',
    message: expect.stringContaining(one.workflowId),
  });
  const { code, stderr } = await sandbox.keymend('status', 'key:1001');
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^keymend: nothing is under way for key key:1001/),
  });
  expect(stderr).not.toContain('may be in');
  target.thaw();
  await untilEqual();
  const batches = await ended();
  expect(batches.reduce((sum, { handedOver }) => sum + handedOver, 0)).toBe(0);
  expect(batches.map(({ lastError }) => lastError)).toEqual(batches.map(() => null));
  // Keys come back as long after the outage as it has lasted, at most a minute.
}, 600_000);

it(
  'loses nothing when bridges and workers are killed all the time, and each position is in one batch',
  async () => {
    sandbox.configure({ link: { name: link }, config: SURGE });
    const keys = keysOf(KILLED_KEYS);
    await writeNew(keys);
    await fail(keys);
    let running: Running[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      running = await Promise.all([sandbox.start('bridge'), sandbox.start('worker')]);
      // At work: after a different number of batches each time.
      await eventually(async () => expect((await runsOf(BATCH_TYPE)).length).toBeGreaterThan(kill * 2));
      await Promise.all(running.map((one) => one.stop('SIGKILL')));
    }
    await sandbox.start('start');
    await untilEqual();
    await ended();
    const positions = new Map<string, number>();
    for (const { workflowId, runId } of await runsOf(BATCH_TYPE)) {
      const { part, writes } = await inputOf(workflowId, runId);
      for (const { record } of writes) {
        const position = `${part.partition} ${record.offset}`;
        positions.set(position, (positions.get(position) ?? 0) + 1);
      }
    }
    expect([...positions.values()].filter((count) => count > 1)).toEqual([]);
  },
  LONG_MS,
);

async function inputOf(workflowId: string, runId: string): Promise<BatchInput> {
  const { client } = sandbox;
  const { events } = await client.workflow.getHandle(workflowId, runId).fetchHistory();
  const { input } = events![0]!.workflowExecutionStartedEventAttributes!;
  return JSON.parse(Buffer.from(input!.payloads![0]!.data!).toString());
}

it('reads an outbox in batches as well', async () => {
  const { source } = sandbox;
  sandbox.configure({ link: { name: link }, config: { intake: 'redis-stream', ...SURGE } });
  const keys = keysOf(1_500);
  await writeNew(keys);
  await Promise.all(
    keys.map((key) => source.client.xadd('keymend:outbox', '*', 'key', key, 'value', recordOf(key, { link }).value)),
  );
  await sandbox.start('start');
  await eventually(async () => expect(await sandbox.target.client.dbsize()).toBe(keys.length));
  const batches = await ended();
  expect(batches.reduce((sum, { repaired }) => sum + repaired, 0)).toBeGreaterThanOrEqual(1_000);
  await eventually(async () => expect(await source.client.xlen('keymend:outbox')).toBe(0));
});

it('beside workflows of single keys and live writers overwrites nothing newer, and all ends equal', async () => {
  const { source, target, producer, topic } = sandbox;
  sandbox.configure({ link: { name: link, settle: '300ms' }, config: { surge: { enter: 40, leave: 5 } } });
  await sandbox.start('start');
  const counters = Array.from({ length: 20 }, (_, index) => `counter:${index}`);
  let written = 0;
  let running = true;
  const whileRunning = async (work: () => Promise<unknown>) => {
    while (running) await work();
  };
  const writers = counters.map((key) =>
    whileRunning(async () => {
      const next = ++written;
      await source.client.set(key, next);
      if (Math.random() < 0.7) await target.client.set(key, next);
      else await producer.send({ topic, messages: [recordOf(key, { link, outcome: 'unknown' })] });
    }),
  );
  // However slowly the others write, now and then many wait.
  const fillers = keysOf(200);
  const bursts = whileRunning(async () => {
    await fail(fillers);
    await sleep(500);
  });
  const violations: string[] = [];
  const observers = counters.map((key) => {
    let last = 0;
    return whileRunning(async () => {
      const value = Number(await target.client.get(key));
      if (value < last) violations.push(`${key} went back from ${last} to ${value}`);
      last = value;
    });
  });
  try {
    await eventually(async () => {
      expect((await runsOf(BATCH_TYPE)).length).toBeGreaterThan(2);
      expect((await runsOf(WORKFLOW_TYPE)).length).toBeGreaterThan(2);
    });
  } finally {
    running = false;
    await Promise.all([...writers, ...observers, bursts]);
  }
  await untilEqual();
  expect(violations).toEqual([]);
});
