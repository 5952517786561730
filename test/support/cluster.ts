/** A real Redis Cluster for tests: masters, one process each, and replicas where a test adds them; gone when the test is. */
import { createServer } from 'node:net';
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
  /** A new node, once it has all that the master has and every master knows it. */
  addReplica(of: RedisServer): Promise<RedisServer>;
  /** The replica takes the place of its master, without being asked for. Resolves when every master knows. */
  failOver(from: RedisServer, to: RedisServer): Promise<void>;
  stop(): Promise<void>;
}

const SLOTS = 16_384;

// Node timeout far beyond a test: a frozen node shall stay part of the cluster.
const ARGUMENTS = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '60000'];

export interface ClusterOptions {
  /** Another redis-server, of any version. */
  readonly binary?: string;
  /** Added to the environment of a node, by its index. */
  environmentOf?(index: number): NodeJS.ProcessEnv;
}

export async function startCluster(masters = 3, { binary, environmentOf }: ClusterOptions = {}): Promise<RedisCluster> {
  const startNode = async () => {
    const environment = environmentOf?.(nodes.length) ?? {};
    return startRedis(ARGUMENTS, { ...(binary !== undefined && { binary }), environment, port: await freePorts() });
  };
  const nodes: RedisServer[] = [];
  // One by one: two that start at once could be given each other's port.
  for (let count = 0; count < masters; count++) nodes.push(await startNode());
  const seeds = nodes.map(({ port }) => ({ host: '127.0.0.1', port }));
  const owner = (slot: number) => Math.floor((slot * masters) / SLOTS);
  for (const [index, { client }] of nodes.entries()) {
    const slots = Array.from({ length: SLOTS }, (_, slot) => slot).filter((slot) => owner(slot) === index);
    await client.cluster('ADDSLOTS', slots);
    await client.cluster('SET-CONFIG-EPOCH', index + 1);
  }
  for (const [index, { port }] of nodes.entries()) {
    if (index > 0) await nodes[0]!.client.call('CLUSTER', 'MEET', '127.0.0.1', port);
  }
  for (const { client } of nodes) await until(async () => isWhole(await client.cluster('INFO'), masters));

  const client = new Cluster(seeds, { redisOptions: { protocol: 2 } });
  client.on('error', () => {});
  await client.ping();
  const ids = new Map<RedisServer, string>();
  for (const node of nodes) ids.set(node, (await node.client.cluster('MYID')) as string);
  const replicas: RedisServer[] = [];
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
    async addReplica(of) {
      const replica = await startNode();
      replicas.push(replica);
      await replica.client.call('CLUSTER', 'MEET', '127.0.0.1', of.port);
      await until(async () => `${await replica.client.cluster('NODES')}`.includes(ids.get(of)!));
      await replica.client.cluster('REPLICATE', ids.get(of)!);
      await until(async () => (await replica.client.info('replication')).includes('master_link_status:up'));
      // Also those that hear of it only by gossip: the master may be frozen next.
      const known = new RegExp(`${await replica.client.cluster('MYID')} \\S+ slave`);
      for (const node of nodes) await until(async () => known.test(`${await node.client.cluster('NODES')}`));
      return replica;
    },
    async failOver(from, to) {
      await to.client.cluster('FAILOVER', 'TAKEOVER');
      const mine = new RegExp(`${await to.client.cluster('MYID')} \\S+ \\S*master.*connected \\d`);
      for (const node of [to, ...nodes.filter((other) => other !== from)]) {
        await until(async () => mine.test(`${await node.client.cluster('NODES')}`));
      }
    },
    async stop() {
      client.disconnect();
      await Promise.all([...nodes, ...replicas].map((node) => node.stop()));
    },
  };
}

/** A port whose bus port, 10,000 above it, is free, too. */
async function freePorts(): Promise<number> {
  for (;;) {
    const port = await freePort();
    const bus = port + 10_000;
    if (bus > 65_535) continue;
    const isFree = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen(bus, () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

function isWhole(info: unknown, masters: number): boolean {
  return /cluster_state:ok/.test(`${info}`) && `${info}`.includes(`cluster_known_nodes:${masters}`);
}

/** The nodes gossip in their own time; there is no event to wait for. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}
