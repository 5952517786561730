/** A sweep whose pages are read from replicas: they do the work, and masters decide. */
import { expect, onTestFinished, test } from 'vitest';
import type { Endpoint } from '../../src/config.js';
import { connectRedis } from '../../src/redis/index.js';
import { startCluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { replicated } from '../support/replication.js';
import { startSentinelGroup } from '../support/sentinel.js';
import { swept } from './bed.js';

const READ = { readFrom: 'replica' } as const;
const keys = (count: number) => Array.from({ length: count }, (_, index) => `user:${index}`);

/** One server with a replica. */
async function startPair() {
  const master = await startRedis();
  const replica = await startRedis(['--replicaof', `127.0.0.1 ${master.port}`]);
  onTestFinished(() => Promise.all([replica.stop(), master.stop()]).then(() => {}));
  await eventually(async () => expect(await replica.client.info('replication')).toContain('master_link_status:up'));
  return { master, replica };
}

function connected(source: Endpoint, target: Endpoint) {
  const sides = {
    source: connectRedis(source, { name: 'source' }),
    target: connectRedis(target, { name: 'target' }),
  };
  onTestFinished(() => Promise.all([sides.source.close(), sides.target.close()]).then(() => {}));
  return sides;
}

const scans = async (servers: readonly RedisServer[]) => {
  const stats = await Promise.all(servers.map(({ client }) => client.info('commandstats')));
  return stats.map((text) => Number(/cmdstat_scan:calls=(\d+)/.exec(text)?.[1] ?? 0));
};
const reset = (servers: readonly RedisServer[]) => Promise.all(servers.map(({ client }) => client.config('RESETSTAT')));

test('one server with a replica on either side: each kind is found, and no master is gone through', async () => {
  const [source, target] = await Promise.all([startPair(), startPair()]);
  const sides = connected({ url: source.master.url }, { url: target.master.url });
  const values = Object.fromEntries(keys(2_000).map((key) => [key, 'value']));
  await Promise.all([source.master.client.mset(values), target.master.client.mset(values)]);
  expect((await swept(sides, READ)).summary).toMatchObject({
    outcome: 'equal',
    compared: 2_000,
    targetOnly: 'counted',
    readFrom: { replicas: 2, masters: 0 },
  });
  await target.master.client.del('user:7');
  await target.master.client.set('user:8', 'other');
  await target.master.client.pexpire('user:9', 600_000);
  await target.master.client.set('target:1', 'alone');
  await reset([source.master, target.master]);
  const { summary } = await swept(sides, READ);
  expect(summary).toMatchObject({
    outcome: 'divergent',
    differing: { missing: 1, value: 1, expiry: 1, extra: 1, type: 0 },
    readFrom: { replicas: 2, masters: 0 },
  });
  expect(await scans([source.master, target.master])).toEqual([0, 0]);
  expect((await scans([source.replica, target.replica])).every((calls) => calls > 0)).toBe(true);
});

test('what differs on a replica alone is no difference: the masters decide', async () => {
  const [source, target] = await Promise.all([startPair(), startPair()]);
  const sides = connected({ url: source.master.url }, { url: target.master.url });
  await Promise.all([source, target].map(({ master }) => master.client.mset({ 'user:1': 'v', 'user:2': 'v' })));
  await replicated(target.master);
  await target.replica.client.config('SET', 'replica-read-only', 'no');
  await target.replica.client.set('user:1', 'other');
  await target.replica.client.del('user:2');
  await target.replica.client.set('user:3', 'alone');
  expect((await swept(sides, READ)).summary).toMatchObject({
    outcome: 'equal',
    listed: [],
    readFrom: { replicas: 2, masters: 0 },
  });
});

test('a replica has what its master had when the sweep began, or is not read', async () => {
  const [source, target] = await Promise.all([startPair(), startPair()]);
  const sides = connected({ url: source.master.url }, { url: target.master.url });
  await Promise.all([source, target].map(({ master }) => master.client.set('user:1', 'v')));
  // It stands still, so it does not hear of what the target loses.
  await source.replica.client.config('SET', 'repl-timeout', '600');
  source.replica.freeze();
  await source.master.client.set('user:2', 'only here');
  const sweep = swept(sides, READ);
  source.replica.thaw();
  expect((await sweep).summary).toMatchObject({ differing: { missing: 1 } });
});

test('a master without a replica is read itself, and that is said', async () => {
  const [source, target] = await Promise.all([startPair(), startRedis()]);
  onTestFinished(() => target.stop());
  const sides = connected({ url: source.master.url }, { url: target.url });
  await source.master.client.set('user:1', 'v');
  await target.client.set('user:2', 'v');
  expect((await swept(sides, READ)).summary).toMatchObject({
    differing: { missing: 1, extra: 1 },
    readFrom: { replicas: 1, masters: 1 },
  });
});

test('a replica that is gone in the middle is followed by another reader, which begins that part anew', async () => {
  const [source, target] = await Promise.all([startPair(), startRedis()]);
  onTestFinished(() => target.stop());
  const sides = connected({ url: source.master.url }, { url: target.url });
  const values = Object.fromEntries(keys(2_000).map((key) => [key, 'value']));
  await Promise.all([source.master.client.mset(values), target.client.mset(values)]);
  await replicated(source.master);
  let stopped: Promise<void> | undefined;
  let state: Parameters<NonNullable<Parameters<typeof swept>[2]>['onProgress'] & {}>[0] | undefined;
  const onProgress = (reached: NonNullable<typeof state>) => {
    state = reached;
    stopped ??= source.replica.stop();
  };
  const { summary } = await eventually(() => swept(sides, { ...READ, rate: 8_000 }, { state, onProgress }));
  await stopped;
  expect(summary).toMatchObject({ outcome: 'equal', compared: 2_000, redone: 1 });
});

test('behind Sentinels and in a Cluster it is the same', async () => {
  const [group, cluster] = await Promise.all([startSentinelGroup('orders'), startCluster(2, { replicas: true })]);
  onTestFinished(() => Promise.all([group.stop(), cluster.stop()]).then(() => {}));
  const urls = group.sentinels.map(({ host, port }) => `redis://${host}:${port}`);
  const sides = connected({ sentinel: { name: group.name, urls } }, { cluster: [cluster.nodes[0]!.url] });
  await Promise.all(keys(1_000).flatMap((key) => [group.master.client.set(key, 'v'), cluster.client.set(key, 'v')]));
  await cluster.client.del('user:1');
  await cluster.client.set('target:1', 'alone');
  await reset([group.master, ...cluster.nodes]);
  const { summary } = await swept(sides, READ);
  expect(summary).toMatchObject({
    compared: 1_001,
    differing: { missing: 1, extra: 1, value: 0 },
    readFrom: { replicas: 3, masters: 0 },
  });
  expect(await scans([group.master, ...cluster.nodes])).toEqual([0, 0, 0]);
});
