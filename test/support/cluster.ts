/** A real Redis Cluster for tests: masters, with or without replicas, one process each, gone when the test is. */
import { Cluster } from 'ioredis';
import { freePort, type RedisServer, startRedis } from './redis.js';

export interface RedisCluster {
  /** Those that were the masters at first. */
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
  /** CLUSTER FAILOVER: the slot's replica takes over from its master, in agreement. Resolves when all nodes know. */
  failOver(slot: number): Promise<void>;
  /** kill -9 of the slot's master. Resolves when its replica has taken over and all nodes know. */
  killMaster(slot: number): Promise<void>;
  stop(): Promise<void>;
}

const SLOTS = 16_384;

export interface ClusterShape {
  /** Whether each master has a replica, which takes over if the master is gone for some seconds. */
  readonly replicas?: boolean;
}

export async function startCluster(masters = 3, { replicas = false }: ClusterShape = {}): Promise<RedisCluster> {
  // Without replicas far beyond a test: a frozen node shall stay part of the cluster.
  const nodeTimeoutMs = replicas ? 3_000 : 60_000;
  const starting = Array.from({ length: replicas ? 2 * masters : masters }, () => startNode(nodeTimeoutMs));
  try {
    return await formCluster(masters, await Promise.all(starting));
  } catch (error) {
    const started = await Promise.allSettled(starting);
    await Promise.all(started.map((node) => node.status === 'fulfilled' && node.value.server.stop()));
    throw error;
  }
}

interface Node {
  readonly server: RedisServer;
  /** Where the nodes talk to each other. */
  readonly bus: number;
}

/** A port that was free may be taken when the server comes to it; with two of each node in a cluster that does happen. */
async function startNode(timeoutMs: number, attempts = 3): Promise<Node> {
  const bus = await freePort();
  const settings = { enabled: 'yes', port: bus, 'node-timeout': timeoutMs };
  try {
    const server = await startRedis(
      Object.entries(settings).flatMap(([name, value]) => [`--cluster-${name}`, `${value}`]),
    );
    return { server, bus };
  } catch (error) {
    if (attempts === 1) throw error;
    return startNode(timeoutMs, attempts - 1);
  }
}

/** @param started the masters, then a replica of each or none */
async function formCluster(masters: number, started: readonly Node[]): Promise<RedisCluster> {
  const all = started.map(({ server }) => server);
  const nodes = all.slice(0, masters);
  const seeds = all.map(({ port }) => ({ host: '127.0.0.1', port }));
  const owner = (slot: number) => Math.floor((slot * masters) / SLOTS);
  for (const [index, { client }] of nodes.entries()) {
    const slots = Array.from({ length: SLOTS }, (_, slot) => slot).filter((slot) => owner(slot) === index);
    await client.cluster('ADDSLOTSRANGE', slots[0]!, slots.at(-1)!);
    await client.cluster('SET-CONFIG-EPOCH', index + 1);
  }
  for (const { server, bus } of started.slice(1)) {
    await nodes[0]!.client.call('CLUSTER', 'MEET', '127.0.0.1', server.port, bus);
  }
  for (const { client } of all) await until(async () => isWhole(await client.cluster('INFO'), all.length));
  const ids = new Map<RedisServer, string>();
  for (const node of all) ids.set(node, (await node.client.cluster('MYID')) as string);
  const masterAt = [...nodes];
  const replicaAt = all.slice(masters);
  await Promise.all(
    replicaAt.map(async ({ client }, index) => {
      await client.cluster('REPLICATE', ids.get(nodes[index]!)!);
      await until(async () => /master_link_status:up/.test(await client.info('replication')));
    }),
  );

  const client = new Cluster(seeds, { redisOptions: { protocol: 2 } });
  client.on('error', () => {});
  await client.ping();
  const moved = new Map<number, RedisServer>();
  const masterOf = (slot: number) => moved.get(slot) ?? masterAt[owner(slot)]!;

  /** Waits until the slot's replica is master in the eyes of all nodes but those that are `gone`. */
  async function takenOver(slot: number, gone: readonly RedisServer[]): Promise<void> {
    const index = owner(slot);
    const [old, next] = [masterAt[index]!, replicaAt[index]!];
    const isKnown = async ({ client }: RedisServer) =>
      new RegExp(`^${ids.get(next)} \\S+ (myself,)?master`, 'm').test(`${await client.cluster('NODES')}`) &&
      /cluster_state:ok/.test(`${await client.cluster('INFO')}`);
    const living = all.filter((node) => !gone.includes(node));
    await Promise.all(living.map((node) => until(() => isKnown(node))));
    masterAt[index] = next;
    replicaAt[index] = old;
  }

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
    async failOver(slot) {
      const { client: replica } = replicaAt[owner(slot)]!;
      // The nodes give it up if they do not agree within 5 s.
      const again = setInterval(() => replica.cluster('FAILOVER').catch(() => {}), 6_000);
      try {
        await replica.cluster('FAILOVER');
        await takenOver(slot, []);
      } finally {
        clearInterval(again);
      }
    },
    async killMaster(slot) {
      const master = masterOf(slot);
      await master.stop();
      await takenOver(slot, [master]);
    },
    async stop() {
      client.disconnect();
      await Promise.all(all.map((node) => node.stop()));
    },
  };
}

function isWhole(info: unknown, nodes: number): boolean {
  return /cluster_state:ok/.test(`${info}`) && `${info}`.includes(`cluster_known_nodes:${nodes}`);
}

/** The nodes gossip in their own time; there is no event to wait for. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}
