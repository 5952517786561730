import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { RedisFailure } from '../../src/redis/index.js';
import { slotOf } from '../../src/redis/slots.js';
import { ClusterNodes } from '../../src/redis/topologies/cluster-nodes.js';
import { type RedisCluster, startCluster } from '../support/cluster.js';
import { freePort, startRedis } from '../support/redis.js';

let cluster: RedisCluster;
let nodes: ClusterNodes;
beforeAll(async () => {
  cluster = await startCluster();
  const [first] = cluster.nodes;
  // One node is enough to know all; one that is dead does no harm.
  nodes = new ClusterNodes([`redis://127.0.0.1:${await freePort()}`, first!.url], { name: 'target of link l' });
});
afterAll(async () => {
  nodes?.close();
  await cluster?.stop();
});

/** What the server that is asked for a key says of it. */
async function ask(key: string, of = nodes): Promise<unknown> {
  const master = await of.masterOf(Buffer.from(key));
  if (master instanceof RedisFailure) throw master;
  const [reply] = await master.connection.send([['GET', key]]);
  if (reply instanceof RedisFailure) of.heed(reply);
  return reply;
}

test('every key is asked for where its slot is', async () => {
  const keys = Array.from({ length: 100 }, (_, index) => `k${index}`);
  for (const key of keys) await cluster.client.set(key, key);
  const replies = await Promise.all(keys.map((key) => ask(key)));
  expect(replies.map(String)).toEqual(keys);
});

test('the masters have all slots among them', async () => {
  const masters = await nodes.masters();
  if (masters instanceof RedisFailure) throw masters;
  const counts = masters.flatMap(({ slots }) => slots.map(([first, last]) => last - first + 1));
  expect(masters).toHaveLength(3);
  expect(counts.reduce((sum, count) => sum + count)).toBe(16_384);
});

test('a key whose slot has moved fails once, and is then found at its new master', async () => {
  const slot = slotOf(Buffer.from('moved'));
  await cluster.client.set('moved', 'v');
  expect(String(await ask('moved'))).toBe('v');
  const [to] = cluster.nodes.filter((node) => node !== cluster.masterOf(slot));
  await cluster.moveSlot(slot, to!);
  const first = await ask('moved');
  expect(first).toMatchObject({ code: 'MOVED' });
  await expect.poll(async () => String(await ask('moved'))).toBe('v');
});

test('a user who may not ask for the ID of a node is served nevertheless', async () => {
  for (const { client } of cluster.nodes) {
    await client.call('ACL', 'SETUSER', 'narrow', 'on', '>secret', '~*', '+@all', '-cluster|myid');
  }
  const url = cluster.nodes[0]!.url.replace('//', '//narrow:secret@');
  const narrow = new ClusterNodes([url], { name: 'target of link l' });
  onTestFinished(() => narrow.close());
  await cluster.client.set('k', 'v');
  expect(String(await ask('k', narrow))).toBe('v');
});

test('nodes that are to be named by a hostname and have none are reached by their addresses', async () => {
  const own = await startCluster(2);
  for (const { client } of own.nodes) await client.config('SET', 'cluster-preferred-endpoint-type', 'hostname');
  const unnamed = new ClusterNodes([own.nodes[0]!.url], { name: 'target of link l' });
  onTestFinished(async () => {
    unnamed.close();
    await own.stop();
  });
  const [[, , node]] = (await own.nodes[0]!.client.cluster('SLOTS')) as unknown as [[number, number, string[]]];
  expect(node[0]).toBe('?');
  const keys = Array.from({ length: 20 }, (_, index) => `k${index}`);
  for (const key of keys) await own.masterOf(slotOf(Buffer.from(key))).client.set(key, key);
  expect((await Promise.all(keys.map((key) => ask(key, unnamed)))).map(String)).toEqual(keys);
});

test('where no node answers, that is the failure of each key', async () => {
  const lonely = new ClusterNodes([`redis://127.0.0.1:${await freePort()}`], { name: 'target of link l' });
  expect(await lonely.masterOf(Buffer.from('k'))).toMatchObject({ code: 'CONNECTION' });
  lonely.close();
});

describe('an address that passes to a node of another Cluster', () => {
  /** A Cluster of its own, with all slots and a value for the key. */
  async function takeAddress(port: number, key: string): Promise<void> {
    const other = await startRedis(['--cluster-enabled', 'yes'], { port });
    onTestFinished(() => other.stop());
    await other.client.call('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
    await expect.poll(async () => `${await other.client.cluster('INFO')}`).toContain('cluster_state:ok');
    await other.client.set(key, 'of the other Cluster');
  }

  /** @param further a node that is not there yet */
  async function begin(further: number): Promise<{ own: RedisCluster; nodes: ClusterNodes }> {
    const own = await startCluster(2);
    const urls = [...own.nodes.map(({ url }) => url), `redis://127.0.0.1:${further}`];
    const nodes = new ClusterNodes(urls, { name: 'target of link l' });
    onTestFinished(async () => {
      nodes.close();
      await own.stop();
    });
    await own.client.set('k', 'own');
    expect(String(await ask('k', nodes))).toBe('own');
    return { own, nodes };
  }

  test('is not taken for the node that had it', async () => {
    const { own, nodes } = await begin(await freePort());
    const master = own.masterOf(slotOf(Buffer.from('k')));
    await master.stop();
    await takeAddress(master.port, 'k');
    const refusal = expect.stringMatching('another node has its address now');
    await expect.poll(async () => ask('k', nodes)).toMatchObject({ code: 'CONNECTION', message: refusal });
    // Nor when the others have been asked who has the slot.
    const answers: unknown[] = [];
    await expect.poll(async () => answers.push(await ask('k', nodes))).toBe(20);
    expect(answers.filter((answer) => !(answer instanceof RedisFailure))).toEqual([]);
  });

  test('is not believed what it says of the slots, even if all others are gone', async () => {
    const further = await freePort();
    const { own, nodes } = await begin(further);
    for (const node of own.nodes) await node.stop();
    await takeAddress(further, 'k');
    const refusal = 'a node of another Cluster has one of its addresses now';
    await expect.poll(() => ask('k', nodes).catch((failure: RedisFailure) => failure.message)).toContain(refusal);
  });
});

test('a node that another one of the same Cluster has replaced, at the same address, is found', async () => {
  const own = await startCluster(2);
  const nodes = new ClusterNodes(
    own.nodes.map(({ url }) => url),
    { name: 'target of link l' },
  );
  onTestFinished(async () => {
    nodes.close();
    await own.stop();
  });
  await own.client.set('k', 'old');
  expect(String(await ask('k', nodes))).toBe('old');
  const lost = own.masterOf(slotOf(Buffer.from('k')));
  const left = own.nodes.find((node) => node !== lost)!;
  const lostId = `${await lost.client.cluster('MYID')}`;
  const ranges = (await lost.client.cluster('SLOTS'))
    .filter(([, , node]) => node?.[1] === lost.port)
    .map(([first, last]) => [first, last] as const);
  await lost.stop();
  const next = await startRedis(['--cluster-enabled', 'yes'], { port: lost.port });
  onTestFinished(() => next.stop());
  await left.client.call('CLUSTER', 'FORGET', lostId);
  await next.client.call('CLUSTER', 'MEET', '127.0.0.1', left.port);
  for (const range of ranges) await next.client.call('CLUSTER', 'ADDSLOTSRANGE', ...range);
  await next.client.call('CLUSTER', 'BUMPEPOCH');
  const written = () => next.client.set('k', 'new').catch(() => null);
  await expect.poll(written).toBe('OK');
  const asked = async () => String(await ask('k', nodes).catch((failure: Error) => failure));
  await expect.poll(asked).toBe('new');
});
