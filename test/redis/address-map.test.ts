/** A Cluster behind NAT: it announces names that nobody here knows. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { natMapOf, reachable } from '../../src/redis/connection/address.js';
import { connectKeyServers, connectRedis, RedisFailure } from '../../src/redis/index.js';
import { slotOf } from '../../src/redis/slots.js';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';
import { type RedisCluster, startCluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { freePort, type RedisServer, startRedis } from '../support/redis.js';

let cluster: RedisCluster;
const proxies: FaultProxy[] = [];
const addressMap: Record<string, string> = {};
const announced = (index: number, port: number) => `node-${index}.nat.invalid:${port}`;
const reached = (proxy: FaultProxy) => `127.0.0.1:${proxy.port}`;
beforeAll(async () => {
  cluster = await startCluster(3);
  for (const [index, { port, client }] of cluster.nodes.entries()) {
    const proxy = await startProxy({ target: { host: '127.0.0.1', port } });
    proxies.push(proxy);
    addressMap[announced(index, port)] = reached(proxy);
    await client.config('SET', 'cluster-announce-hostname', `node-${index}.nat.invalid`);
    await client.config('SET', 'cluster-preferred-endpoint-type', 'hostname');
  }
  // Each hears the names of the others by gossip.
  const names = async ({ client }: RedisServer) => `${await client.call('CLUSTER', 'SLOTS')}`.match(/nat\.invalid/g);
  for (const node of cluster.nodes) await eventually(async () => expect(await names(node)).toHaveLength(3));
});
afterAll(async () => {
  await Promise.all(proxies.map((proxy) => proxy.close()));
  await cluster?.stop();
});

const endpoint = () => ({ cluster: [`redis://${reached(proxies[0]!)}`], addressMap });
const name = 'target of link l';
const KEYS = Array.from({ length: 30 }, (_, index) => `k${index}`);

it('its masters are asked where they are reached, also who is getting a slot', async () => {
  const servers = connectKeyServers(endpoint(), { name });
  onTestFinished(() => servers.close());
  const places = new Set<string>();
  for (const key of KEYS) places.add((await servers.send(key, ['SET', key, 'v'])).place);
  expect([...places].sort()).toEqual(proxies.map((proxy) => `${name} (${reached(proxy)})`).sort());

  const slot = slotOf(Buffer.from('absent'));
  const to = cluster.nodes.find((node) => node !== cluster.masterOf(slot))!;
  await cluster.startMovingSlot(slot, to);
  const failure = await servers.send('absent', ['GET', 'absent']).catch((error: Error) => error.cause);
  expect(failure).toMatchObject({ code: 'ASK' });
  const importing = servers.importing(failure as RedisFailure);
  expect(importing?.place).toBe(`${name} (${reached(proxies[cluster.nodes.indexOf(to)]!)})`);
});

it('without the map it can not be reached', async () => {
  const port = connectRedis({ cluster: endpoint().cluster }, { name, commandTimeoutMs: 2_000 });
  onTestFinished(() => port.close());
  const answers = await port.inspect(KEYS.map((key) => Buffer.from(key)));
  expect(answers.some((answer) => answer instanceof RedisFailure && /host name/.test(answer.message))).toBe(true);
});

/** Of a Cluster of its own. What it announces no other node has to reach. */
async function startLoneNode(): Promise<RedisServer> {
  const node = await startRedis(['--cluster-enabled', 'yes', '--cluster-port', `${await freePort()}`]);
  onTestFinished(() => node.stop());
  await node.client.call('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
  await eventually(async () => expect(`${await node.client.cluster('INFO')}`).toContain('cluster_state:ok'));
  return node;
}

describe.each(['[fd00::1]', 'fd00::1'])('an IPv6 address that the map writes as %s', (written) => {
  it('is found for a node of a Cluster', async () => {
    const { port, client } = await startLoneNode();
    const proxy = await startProxy({ target: { host: '127.0.0.1', port } });
    onTestFinished(() => proxy.close());
    await client.config('SET', 'cluster-announce-ip', 'fd00::1');
    const map = { [`${written}:${port}`]: reached(proxy) };
    const servers = connectKeyServers({ cluster: [`redis://${reached(proxy)}`], addressMap: map }, { name });
    onTestFinished(() => servers.close());
    expect((await servers.send('k', ['SET', 'k', 'v'])).place).toBe(`${name} (${reached(proxy)})`);
  });

  it('is found for a master that a Sentinel names, and for a replica', () => {
    const access = { addressMap: { [`${written}:6379`]: '[fd00::2]:7000' } };
    const place = { host: 'fd00::2', port: 7000 };
    // ioredis asks so.
    expect(natMapOf(access)).toEqual({ natMap: { 'fd00::1:6379': place } });
    expect(reachable('fd00::1', 6379, access)).toEqual(place);
  });
});

it('a node that leaves its host out is where it was asked', async () => {
  const { port, client } = await startLoneNode();
  const proxy = await startProxy({ target: { host: '127.0.0.1', port } });
  onTestFinished(() => proxy.close());
  await client.config('SET', 'cluster-preferred-endpoint-type', 'unknown-endpoint');
  const servers = connectKeyServers({ cluster: [`redis://${reached(proxy)}`] }, { name });
  onTestFinished(() => servers.close());
  expect((await servers.send('k', ['SET', 'k', 'v'])).place).toBe(`${name} (${reached(proxy)})`);
});

it('an address that is none is refused with its place', () => {
  const target = { cluster: ['redis://a:1'], addressMap: { 'a:1': 'b' } };
  const config = { kafka: { brokers: ['h:1'] }, links: [{ name: 'l', source: { url: 'redis://c' }, target }] };
  expect(() => parseConfig(JSON.stringify(config), 'test', {})).toThrow('links[0].target.addressMap');
});
