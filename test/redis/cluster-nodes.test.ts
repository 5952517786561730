import { afterAll, beforeAll, expect, test } from 'vitest';
import { ClusterNodes } from '../../src/redis/cluster-nodes.js';
import { RedisFailure } from '../../src/redis/index.js';
import { slotOf } from '../../src/redis/slots.js';
import { type RedisCluster, startCluster } from '../support/cluster.js';
import { freePort } from '../support/redis.js';

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
async function ask(key: string): Promise<unknown> {
  const master = await nodes.masterOf(Buffer.from(key));
  if (master instanceof RedisFailure) throw master;
  const [reply] = await master.connection.send([['GET', key]]);
  if (reply instanceof RedisFailure) nodes.heed(reply);
  return reply;
}

test('every key is asked for where its slot is', async () => {
  const keys = Array.from({ length: 100 }, (_, index) => `k${index}`);
  for (const key of keys) await cluster.client.set(key, key);
  const replies = await Promise.all(keys.map(ask));
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

test('where no node answers, that is the failure of each key', async () => {
  const lonely = new ClusterNodes([`redis://127.0.0.1:${await freePort()}`], { name: 'target of link l' });
  expect(await lonely.masterOf(Buffer.from('k'))).toMatchObject({ code: 'CONNECTION' });
  lonely.close();
});
