/** A real Redis Cluster for tests: masters without replicas, one process each, gone when the test is. */
import { Cluster } from 'ioredis';
import { freePort, type RedisServer, startRedis } from './redis.js';

export interface RedisCluster {
  readonly nodes: readonly RedisServer[];
  /** Where a client starts: the addresses of all nodes. */
  readonly seeds: readonly { host: string; port: number }[];
  /** A client for the test itself, apart from the code under test. */
  readonly client: Cluster;
  /** The master that the slot belongs to. */
  masterOf(slot: number): RedisServer;
  /** Gives a slot, and the keys in it, to another master. Clients learn of it by MOVED. */
  moveSlot(slot: number, to: RedisServer): Promise<void>;
  /** The state in the middle of that: for keys that are not there any more, the old master answers ASK. */
  startMovingSlot(slot: number, to: RedisServer): Promise<void>;
  stop(): Promise<void>;
}

const SLOTS = 16_384;

export async function startCluster(masters = 3): Promise<RedisCluster> {
  const buses = await Promise.all(Array.from({ length: masters }, freePort));
  const nodes = await Promise.all(
    buses.map((bus) =>
      // Node timeout far beyond a test: a frozen node shall stay part of the cluster.
      startRedis(['--cluster-enabled', 'yes', '--cluster-port', `${bus}`, '--cluster-node-timeout', '60000']),
    ),
  );
  const seeds = nodes.map(({ port }) => ({ host: '127.0.0.1', port }));
  const owner = (slot: number) => Math.floor((slot * masters) / SLOTS);
  for (const [index, { client }] of nodes.entries()) {
    const slots = Array.from({ length: SLOTS }, (_, slot) => slot).filter((slot) => owner(slot) === index);
    await client.cluster('ADDSLOTSRANGE', slots[0]!, slots.at(-1)!);
    await client.cluster('SET-CONFIG-EPOCH', index + 1);
  }
  for (const [index, { port }] of nodes.entries()) {
    if (index > 0) await nodes[0]!.client.call('CLUSTER', 'MEET', '127.0.0.1', port, buses[index]!);
  }
  for (const { client } of nodes) await until(async () => isWhole(await client.cluster('INFO'), masters));

  const client = new Cluster(seeds, { redisOptions: { protocol: 2 } });
  client.on('error', () => {});
  await client.ping();
  const ids = new Map<RedisServer, string>();
  for (const node of nodes) ids.set(node, (await node.client.cluster('MYID')) as string);
  const moved = new Map<number, RedisServer>();
  const masterOf = (slot: number) => moved.get(slot) ?? nodes[owner(slot)]!;

  async function startMovingSlot(slot: number, to: RedisServer): Promise<void> {
    const from = masterOf(slot);
    await to.client.cluster('SETSLOT', slot, 'IMPORTING', ids.get(from)!);
    await from.client.cluster('SETSLOT', slot, 'MIGRATING', ids.get(to)!);
  }
  return {
    nodes,
    seeds,
    client,
    masterOf,
    startMovingSlot,
    async moveSlot(slot, to) {
      const from = masterOf(slot);
      await startMovingSlot(slot, to);
      for (;;) {
        const keys = (await from.client.call('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[];
        if (keys.length === 0) break;
        await from.client.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, 'REPLACE', 'KEYS', ...keys);
      }
      for (const node of [to, ...nodes.filter((other) => other !== to)]) {
        await node.client.cluster('SETSLOT', slot, 'NODE', ids.get(to)!);
      }
      moved.set(slot, to);
    },
    async stop() {
      client.disconnect();
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}

function isWhole(info: unknown, masters: number): boolean {
  return /cluster_state:ok/.test(`${info}`) && `${info}`.includes(`cluster_known_nodes:${masters}`);
}

/** The nodes gossip in their own time; there is no event to wait for. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}
