/**
 * A Cluster in trouble: nodes that freeze, fail over or lose their keys, slots that wander while
 * everybody writes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import type { KeyResult } from '../../src/engine/index.js';
import { slotOf } from '../../src/redis/slots.js';
import { isPermanent } from '../../workflows/error-types.js';
import { compareRedis } from '../support/compare.js';
import { intercept } from './link.js';
import { reconcileAnySize, type Side, startClusterSide, startSide } from './topology.js';

const LARGE_VALUES = { elements: 60, bytes: 1_024 };

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function begin<Started extends Side>(starting: Promise<Started>): Promise<Started> {
  const side = await starting;
  cleanups.push(() => side.stop());
  return side;
}

const names = (count: number) => Array.from({ length: count }, (_, index) => `key:${index}`);
const asRequests = (keys: readonly string[]) => keys.map((key) => ({ key: Buffer.from(key) }));
const errorOf = (result: KeyResult | undefined) => (result?.outcome === 'failed' ? result.error : null);

describe('a frozen master', () => {
  test.each(['source', 'target'] as const)('of the %s fails its own keys alone', async (frozen) => {
    const cluster = await begin(startClusterSide(frozen, 3, { commandTimeoutMs: 3_000 }));
    const other = await begin(startSide(frozen === 'source' ? 'target' : 'source', 'one server'));
    const [source, target] = frozen === 'source' ? [cluster, other] : [other, cluster];
    const sides = { source: source.port, target: target.port };
    const keys = names(60);
    for (const key of keys) await source.client.set(key, 'v');
    const [node] = cluster.nodes;
    const lost = keys.filter((key) => cluster.nodeOf(key) === node);
    // All connections are there.
    await reconcileAnySize(sides, asRequests(keys.slice(0, 10)));

    node!.freeze();
    const results = await reconcileAnySize(sides, asRequests(keys));
    const failed = keys.filter((_, index) => results[index]!.outcome === 'failed');
    expect(failed).toEqual(lost);
    const error = errorOf(results[keys.indexOf(lost[0]!)]);
    expect(error).toMatchObject({
      type: frozen === 'source' ? 'SourceUnavailable' : 'TargetUnavailable',
    });
    expect(error!.message).toBe(
      `${frozen} (127.0.0.1:${node!.port}) did not answer in time; look at its load and at the network in between`,
    );
    node!.thaw();
    await expect
      .poll(async () => (await reconcileAnySize(sides, asRequests(keys))).filter(({ outcome }) => outcome === 'failed'))
      .toEqual([]);
    expect(await compareRedis(source.client, target.client)).toEqual([]);
  });
});

describe('a failover', () => {
  test.each([
    ['source', 'frozen'],
    ['source', 'demoted'],
    ['target', 'demoted'],
  ] as const)('of a shard of the %s, its old master being %s, is followed', async (which, fate) => {
    const cluster = await begin(startClusterSide(which, 2, { commandTimeoutMs: 400 }));
    const other = await begin(startSide(which === 'source' ? 'target' : 'source', 'one server'));
    const [source, target] = which === 'source' ? [cluster, other] : [other, cluster];
    const sides = { source: source.port, target: target.port };
    const keys = names(20);
    for (const key of keys) await source.client.set(key, 'v');
    await reconcileAnySize(sides, asRequests(keys));
    const [master] = cluster.nodes;
    const replica = await cluster.cluster.addReplica(master!);
    for (const node of cluster.nodes) await node.client.wait(node === master ? 1 : 0, 0);

    if (fate === 'frozen') master!.freeze();
    await cluster.cluster.takeOver(master!, replica);
    const successor = which === 'source' ? replica.client : source.client;
    const moved = keys.filter((key) => cluster.nodeOf(key) === master);
    for (const key of moved) await successor.set(key, 'newer');
    const first = await reconcileAnySize(sides, asRequests(keys));
    // Nobody has to look after it: that is for what a person must decide.
    expect(first.filter((result) => isPermanent(errorOf(result)?.type ?? ''))).toEqual([]);
    await expect
      .poll(
        async () => (await reconcileAnySize(sides, asRequests(keys))).filter(({ outcome }) => outcome === 'failed'),
        { interval: 100 },
      )
      .toEqual([]);
    const newest = which === 'source' ? target.client : replica.client;
    for (const key of moved) expect(await newest.get(key)).toBe('newer');
    master!.thaw();
  });
});

describe('a shard of the source that was emptied', () => {
  test.each(['one server', 2, 3] as const)('deletes nothing on the target (%s)', async (topology) => {
    const source = await begin(startClusterSide('source', 3));
    const target = await begin(startSide('target', topology));
    const sides = { source: source.port, target: target.port };
    const keys = names(300);
    await Promise.all(keys.flatMap((key) => [source.client.set(key, 'v'), target.client.set(key, 'v')]));
    const [emptied] = source.nodes;
    await emptied!.client.flushall();
    const lost = keys.filter((key) => source.nodeOf(key) === emptied);
    // This one was really deleted.
    const deleted = keys.find((key) => source.nodeOf(key) !== emptied)!;
    await source.client.del(deleted);

    const results = await reconcileAnySize(sides, asRequests(keys));
    expect(keys.filter((_, index) => results[index]!.outcome === 'failed')).toEqual(lost);
    const error = errorOf(results[keys.indexOf(lost[0]!)])!;
    expect(error).toMatchObject({ type: 'SourceSuspicious' });
    expect(error.message).toMatch(
      new RegExp(
        `^source \\(127.0.0.1:${emptied!.port}\\) has 0 keys and target \\(.*\\) ${topology === 3 ? '\\d+' : 'about \\d+ in the same slots'}: `,
      ),
    );
    expect(results[keys.indexOf(deleted)]).toMatchObject({ outcome: 'repaired', action: 'deleted' });
    expect(await Promise.all(lost.map((key) => target.client.exists(key)))).toEqual(lost.map(() => 1));

    const request = { key: Buffer.from(lost[0]!), allowDelete: true };
    expect(await reconcileAnySize(sides, [request])).toMatchObject([{ outcome: 'repaired', action: 'deleted' }]);
  });

  test('of a Cluster whose shards are filled unevenly, a deleted key is deleted', async () => {
    const source = await begin(startClusterSide('source', 2));
    const target = await begin(startSide('target', 2));
    const sides = { source: source.port, target: target.port };
    const keys = names(600).map((key) => `{hot}:${key}`);
    const cold = names(60).filter((key) => source.nodeOf(key) !== source.nodeOf('{hot}'));
    const clients = [source.client, target.client];
    await Promise.all([...keys, ...cold].flatMap((key) => clients.map((client) => client.set(key, 'v'))));
    for (const key of [keys[0]!, cold[0]!]) await source.client.del(key);
    const results = await reconcileAnySize(sides, asRequests([keys[0]!, cold[0]!]));
    expect(results.map(({ outcome }) => outcome)).toEqual(['repaired', 'repaired']);
  });
});

/** Two masters may name each other for a while: the client gives up, and nothing was written. */
function ledAround(error: unknown): void {
  if (!/Too many Cluster redirections/.test(String(error))) throw error;
}

test('slots wander and writers write: nothing newer is overwritten, nothing that exists is deleted', async () => {
  const options = { largeValues: LARGE_VALUES };
  const source = await begin(startClusterSide('source', 2, options));
  const target = await begin(startClusterSide('target', 2, options));
  // A way to the target that is long enough for a writer to come in between.
  const far = intercept(target.port, { 'before repair': () => sleep(5) });
  const sides = { source: source.port, target: far };
  const counters = names(6);
  const lists = names(3).map((key) => `list:${key}`);
  const all = [...counters, ...lists];
  for (const key of lists) await source.client.rpush(key, ...names(200));
  for (const key of counters) for (const { client } of [source, target]) await client.set(key, 0);
  await reconcileAnySize(sides, asRequests(all));

  let running = true;
  const worker = async (work: () => Promise<unknown>) => {
    while (running) await work().catch(ledAround);
  };
  let written = 0;
  const writers = counters.map((key) =>
    worker(async () => {
      const next = ++written;
      await source.client.set(key, next);
      if (Math.random() < 0.7) await target.client.set(key, next);
    }),
  );
  const listWriters = lists.map((key) =>
    worker(async () => {
      await source.client.rpush(key, `${++written}`);
      if (Math.random() < 0.5) await target.client.rpush(key, `${written}`);
      await sleep(20);
    }),
  );
  const violations: string[] = [];
  const observers = all.map((key) => {
    let last = 0;
    return worker(async () => {
      const value = counters.includes(key) ? await target.client.get(key) : await target.client.exists(key);
      if (value === null || (value === 0 && lists.includes(key))) violations.push(`${key} was deleted`);
      else if (Number(value) < last) violations.push(`${key} went back`);
      last = Number(value);
    });
  });
  const outcomes = new Map<string, number>();
  const repairer = worker(async () => {
    for (const result of await reconcileAnySize(sides, asRequests(all))) {
      const what = errorOf(result)?.type ?? result.outcome;
      outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
    }
  });
  const moves = (async () => {
    // Else nothing was tried.
    const metBoth = () =>
      outcomes.has('repaired') && (outcomes.has('SourceUnavailable') || outcomes.has('TargetUnavailable'));
    for (let round = 0; round < 4 || !metBoth(); round++) {
      for (const key of all) {
        for (const side of [source, target]) await side.cluster.moveSlot(slotOf(Buffer.from(key)), side.otherNode(key));
      }
    }
  })();
  try {
    await moves;
  } finally {
    running = false;
    await Promise.all([...writers, ...listWriters, ...observers, repairer]);
  }
  expect(violations).toEqual([]);
  const harmless = ['equal', 'repaired', 'SourceUnavailable', 'TargetUnavailable', 'Contended'];
  expect([...outcomes.keys()].filter((what) => !harmless.includes(what))).toEqual([]);
  await expect
    .poll(async () => (await reconcileAnySize(sides, asRequests(all))).filter(({ outcome }) => outcome !== 'equal'), {
      interval: 100,
    })
    .toEqual([]);
  expect(await compareRedis(source.client, target.client)).toEqual([]);
});
