/**
 * The budget of a link whose target is a Cluster: every shard has its share of it, whoever is at
 * work.
 */
import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectRedis } from '../../src/redis/index.js';
import { slotOf } from '../../src/redis/slots.js';
import { calmRate, gaps, type Sample, type Standstill, sample, seconds, watch } from '../redis/commandstats.js';
import { compareRedis } from '../support/compare.js';
import { type ClusterSide, reconcileAnySize, type Side, startClusterSide, startSide } from './topology.js';

const WORKER = fileURLToPath(new URL('budget-worker.js', import.meta.url));
const BUDGET = { link: 'east-to-west', opsPerSecond: 4_000 };
const SHARE = BUDGET.opsPerSecond / 2;

/** Of which shards was told that they were waited for, or used. */
const told = new Set<string>();
const onTold = (_: number, shard: string) => told.add(shard);

let source: Side;
let target: ClusterSide;
beforeAll(async () => {
  source = await startSide('source', 'one server');
  target = await startClusterSide('target', 2, { budget: { ...BUDGET, onWaited: onTold, onUsed: onTold } });
});
afterAll(async () => {
  await Promise.all([source?.stop(), target?.stop()]);
});

async function diverge(count: number): Promise<string[]> {
  const keys = Array.from({ length: count }, (_, index) => `key:${index}`);
  const clients = [source.client, target.client];
  await Promise.all(keys.flatMap((key) => clients.map((client, side) => client.hset(key, { a: '1', b: `${side}` }))));
  return keys;
}

test('a backlog is repaired by two workers within the share of each shard, and uses most of it', async () => {
  const keys = await diverge(2_000);
  const endpoints = { source: { url: source.nodes[0]!.url }, target: { cluster: [target.nodes[0]!.url] } };
  const workers = [0, 1].map((part) => ({
    process: fork(WORKER, [JSON.stringify({ ...endpoints, opsPerSecond: BUDGET.opsPerSecond })]),
    keys: keys.filter((_, index) => index % 2 === part),
  }));
  const standstills: Standstill[] = [];
  try {
    await Promise.all(workers.map(({ process }) => once(process, 'message')));
    const ended = Promise.all(
      workers.map(({ process, keys }) => {
        process.send(keys);
        return new Promise<void>((resolve) => {
          process.on('message', (message) => {
            if (message === 'done') resolve();
            else standstills.push(message as Standstill);
          });
        });
      }),
    );
    const ofNodes = await Promise.all(target.nodes.map((node) => watch(node, () => ended.then(() => {}))));
    const all = [...standstills, ...ofNodes.flatMap(gaps)];
    for (const samples of ofNodes) {
      const tooBusy = seconds(samples, all).filter(
        ({ operations, heldUpMs }) => operations > SHARE * (1.05 + heldUpMs / 1_000),
      );
      expect(tooBusy).toEqual([]);
      expect(calmRate(whileBusy(samples), all) / SHARE).toBeGreaterThanOrEqual(0.5);
    }
    expect(await compareRedis(source.client, target.client)).toEqual([]);
  } finally {
    for (const { process } of workers) process.kill('SIGKILL');
  }
});

/** One shard is ready before the other. */
function whileBusy(samples: readonly Sample[]): Sample[] {
  const last = samples.at(-1)!.operations;
  return samples.slice(0, samples.findIndex(({ operations }) => operations >= 0.98 * last) + 1);
}

test('the timeline of a shard lies in its last slot, and in another one while that is moved', async () => {
  const request = { key: Buffer.from('k'), members: 0 };
  const node = target.nodeOf('k');
  const last = node === target.nodes[0] ? 8_191 : 16_383;
  const timelines = async () => (await node.client.keys('keymend:budget:*')).map((key) => slotOf(Buffer.from(key)));
  // It is gone again within a moment, so both are tried together.
  const timelinesOfAdmission = async () => {
    const answer = await target.port.admit([request]);
    expect(answer).toMatchObject({ kind: 'admitted' });
    if ('done' in answer) answer.done();
    return timelines();
  };
  await expect.poll(timelinesOfAdmission).toEqual([last]);
  await expect.poll(timelines).toEqual([]);
  await target.cluster.startMovingSlot(last, target.otherNode('k'));
  await expect.poll(timelinesOfAdmission).toEqual([last - 1]);
});

test('what goes through the admitted port is charged to the shard of its keys alone, and told of it', async () => {
  const [key] = await diverge(1);
  const [ofKey, other] = [target.nodeOf(key!), target.otherNode(key!)];
  const before = await Promise.all([ofKey, other].map(sample));
  told.clear();
  await reconcileAnySize({ source: source.port, target: target.port }, [{ key: Buffer.from(key!) }]);
  const after = await Promise.all([ofKey, other].map(sample));
  const scripts = after.map(
    ({ calls }, index) => (calls.get('evalsha') ?? 0) - (before[index]!.calls.get('evalsha') ?? 0),
  );
  // The inspection and the repair, and a lease where nothing was left over of the last.
  expect(scripts[0]).toBeGreaterThanOrEqual(2);
  expect(scripts[1]).toBe(0);
  expect([...told]).toEqual([`127.0.0.1:${ofKey.port}`]);
});

test('of the bytes of a link every shard has its share, as it has of the operations', async () => {
  const bytes = 1_000_000;
  const bytesPerSecond = 100 * BUDGET.opsPerSecond;
  let used = 0;
  const onUsed = (operations: number) => {
    used += operations;
  };
  const budget = { ...BUDGET, link: 'by bytes', bytesPerSecond, onUsed };
  const port = connectRedis({ cluster: [target.nodes[0]!.url] }, { name: 'target', budget });
  try {
    await source.client.set('of many bytes', randomBytes(bytes));
    const sides = { source: source.port, target: port };
    const [result] = await reconcileAnySize(sides, [{ key: Buffer.from('of many bytes') }]);
    expect(result).toMatchObject({ outcome: 'repaired' });
    // So long the one shard is taken by it.
    const seconds = used / SHARE;
    expect(seconds).toBeGreaterThan(bytes / (bytesPerSecond / 2));
    expect(seconds).toBeLessThan((1.5 * bytes) / (bytesPerSecond / 2));
  } finally {
    await port.close();
  }
});
