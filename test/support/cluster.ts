/**
 * A real Redis Cluster for tests: masters, with or without replicas, one process each, gone when
 * the test is.
 */
import { createServer } from 'node:net';
import { Cluster } from 'ioredis';
import { until } from './eventually.js';
import { freePort, type RedisServer, startRedis } from './redis.js';

export interface RedisCluster {
  /** Where a node speaks TLS, when all do. */
  tlsPortOf(node: RedisServer): number;
  /** The masters that it began with. */
  readonly nodes: readonly RedisServer[];
  /** Where a client starts: the addresses of all nodes. */
  readonly seeds: readonly { host: string; port: number }[];
  /** A client for the test itself, apart from the code under test. */
  readonly client: Cluster;
  /** The master that the slot belongs to. */
  masterOf(slot: number): RedisServer;
  /** Gives a slot, and the keys in it, to another master. Clients learn of it by MOVED. */
  moveSlot(slot: number, to: RedisServer): Promise<void>;
  /**
   * The state in the middle of that: for keys that are not there any more, the old master answers
   * ASK.
   */
  startMovingSlot(slot: number, to: RedisServer): Promise<void>;
  /** A new node, once it has all that the master has and every master knows it. */
  addReplica(of: RedisServer): Promise<RedisServer>;
  /**
   * The replica takes the place of its master, without anybody's consent. Resolves when every
   * living master knows.
   */
  takeOver(from: RedisServer, to: RedisServer): Promise<void>;
  /**
   * CLUSTER FAILOVER: the slot's replica takes over from its master, in agreement. Resolves when
   * all nodes know.
   */
  failOver(slot: number): Promise<void>;
  /** kill -9 of the slot's master. Resolves when its replica has taken over and all nodes know. */
  killMaster(slot: number): Promise<void>;
  stop(): Promise<void>;
}

const SLOTS = 16_384;
/** How far above its port a node listens to others. */
const BUS = 10_000;

export interface ClusterShape {
  /** Whether each master has a replica, which takes over if the master is gone for some seconds. */
  readonly replicas?: boolean;
  /** Another redis-server, of any version. */
  readonly binary?: string;
  /** Arguments of redis-server by which the nodes speak TLS, also with each other. */
  readonly tls?: readonly string[];
  /** Added to the environment of a node, by its index. */
  environmentOf?(index: number): NodeJS.ProcessEnv;
}

export async function startCluster(masters = 3, shape: ClusterShape = {}): Promise<RedisCluster> {
  const all: RedisServer[] = [];
  try {
    return await formCluster(masters, shape, all);
  } catch (error) {
    await Promise.all(all.map((node) => node.stop()));
    throw error;
  }
}

/** @param all every node, from the moment it runs: to be stopped in the end */
async function formCluster(
  masters: number,
  { replicas = false, binary, tls, environmentOf }: ClusterShape,
  all: RedisServer[],
): Promise<RedisCluster> {
  // Without replicas far beyond a test: a frozen node shall stay part of the cluster.
  const nodeTimeoutMs = replicas ? 3_000 : 60_000;
  const ids = new Map<RedisServer, string>();
  const tlsPorts = new Map<RedisServer, number>();
  // Where other nodes reach it.
  const portOf = (node: RedisServer) => tlsPorts.get(node) ?? node.port;

  async function startNode(attempts = 3): Promise<RedisServer> {
    const options = { ...(binary !== undefined && { binary }), environment: environmentOf?.(all.length) ?? {} };
    const settings = ['--cluster-enabled', 'yes', '--cluster-node-timeout', `${nodeTimeoutMs}`];
    const [port, tlsPort] = [await freePorts(), await freePort()];
    const secure = tls && [
      ...tls,
      '--tls-cluster',
      'yes',
      '--tls-port',
      `${tlsPort}`,
      '--cluster-port',
      `${port + BUS}`,
    ];
    try {
      const node = await startRedis([...settings, ...(secure ?? [])], { ...options, port });
      all.push(node);
      if (tls) tlsPorts.set(node, tlsPort);
      ids.set(node, (await node.client.cluster('MYID')) as string);
      return node;
    } catch (error) {
      // A port that was free may be taken when the server comes to it.
      if (attempts === 1) throw error;
      return startNode(attempts - 1);
    }
  }

  async function addReplica(of: RedisServer): Promise<RedisServer> {
    const replica = await startNode();
    await replica.client.call('CLUSTER', 'MEET', '127.0.0.1', portOf(of), of.port + BUS);
    await until(async () => `${await replica.client.cluster('NODES')}`.includes(ids.get(of)!));
    await replica.client.cluster('REPLICATE', ids.get(of)!);
    await until(async () => (await replica.client.info('replication')).includes('master_link_status:up'));
    // Also those that hear of it only by gossip: the master may be frozen next.
    const known = new RegExp(`${ids.get(replica)} \\S+ slave`);
    for (const node of nodes) await until(async () => known.test(`${await node.client.cluster('NODES')}`));
    // And it of them: once its master is frozen, nobody tells it of the others any more.
    await until(async () => isWhole(await replica.client.cluster('INFO'), all.length));
    return replica;
  }

  // One by one: two that start at once could be given each other's port.
  const nodes: RedisServer[] = [];
  for (let count = 0; count < masters; count++) nodes.push(await startNode());
  const owner = (slot: number) => Math.floor((slot * masters) / SLOTS);
  for (const [index, { client }] of nodes.entries()) {
    const slots = Array.from({ length: SLOTS }, (_, slot) => slot).filter((slot) => owner(slot) === index);
    await client.cluster('ADDSLOTS', slots);
    await client.cluster('SET-CONFIG-EPOCH', index + 1);
  }
  for (const node of nodes.slice(1))
    await nodes[0]!.client.call('CLUSTER', 'MEET', '127.0.0.1', portOf(node), node.port + BUS);
  for (const { client } of nodes) await until(async () => isWhole(await client.cluster('INFO'), masters));
  const masterAt = [...nodes];
  const replicaAt: RedisServer[] = [];
  for (const node of replicas ? nodes : []) replicaAt.push(await addReplica(node));

  const seeds = all.map(({ port }) => ({ host: '127.0.0.1', port }));
  const client = new Cluster(seeds, { redisOptions: { protocol: 2 } });
  client.on('error', () => {});
  await client.ping();
  const moved = new Map<number, RedisServer>();
  const masterOf = (slot: number) => moved.get(slot) ?? masterAt[owner(slot)]!;

  /** Waits until the node is a master in the eyes of all those, and linked with them. */
  async function isMasterFor(next: RedisServer, those: readonly RedisServer[]): Promise<void> {
    const master = new RegExp(`^${ids.get(next)} \\S+ (myself,)?master.* connected \\d`, 'm');
    const isKnown = async ({ client }: RedisServer) => master.test(`${await client.cluster('NODES')}`);
    await Promise.all(those.map((node) => until(() => isKnown(node))));
  }

  /** Waits until all those serve every slot again. */
  async function isWholeFor(those: readonly RedisServer[]): Promise<void> {
    const isOk = async ({ client }: RedisServer) => /cluster_state:ok/.test(`${await client.cluster('INFO')}`);
    await Promise.all(those.map((node) => until(() => isOk(node))));
  }

  /**
   * Waits until each has got all that the others sent it so far: what is published goes the same
   * way. An old message that comes after the next move can give a slot back to who had it before,
   * for a node that has missed another's configuration epoch takes a slot with too small a one.
   */
  async function haveHeardEachOther(): Promise<void> {
    const listeners = nodes.map(({ client: node }) => node.duplicate());
    try {
      await Promise.all(listeners.map((listener) => listener.subscribe('moved')));
      const heard = listeners.map(
        (listener) =>
          new Promise<void>((resolve) => {
            const from = new Set<string>();
            listener.on('message', (_channel, id) => from.add(id).size === nodes.length && resolve());
          }),
      );
      for (const node of nodes) await node.client.publish('moved', ids.get(node)!);
      await Promise.all(heard);
    } finally {
      for (const listener of listeners) listener.disconnect();
    }
  }

  function swap(slot: number): void {
    const index = owner(slot);
    [masterAt[index], replicaAt[index]] = [replicaAt[index]!, masterAt[index]!];
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
    tlsPortOf: (node) => tlsPorts.get(node)!,
    startMovingSlot,
    addReplica,
    async moveSlot(slot, to) {
      const from = masterOf(slot);
      await startMovingSlot(slot, to);
      for (;;) {
        const keys = (await from.client.call('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[];
        if (keys.length === 0) break;
        await from.client.call('MIGRATE', '127.0.0.1', portOf(to), '', 0, 5000, 'REPLACE', 'KEYS', ...keys);
      }
      for (const node of [to, ...nodes.filter((other) => other !== to)]) {
        await node.client.cluster('SETSLOT', slot, 'NODE', ids.get(to)!);
      }
      moved.set(slot, to);
      await haveHeardEachOther();
    },
    async takeOver(from, to) {
      await to.client.cluster('FAILOVER', 'TAKEOVER');
      const living = [to, ...nodes.filter((other) => other !== from)];
      await isMasterFor(to, living);
      await isWholeFor(living);
    },
    async failOver(slot) {
      const replica = replicaAt[owner(slot)]!;
      // The nodes give it up if they do not agree within 5 s.
      const again = setInterval(() => replica.client.cluster('FAILOVER').catch(() => {}), 6_000);
      try {
        await replica.client.cluster('FAILOVER');
        await isMasterFor(replica, all);
        await isWholeFor(all);
        swap(slot);
      } finally {
        clearInterval(again);
      }
    },
    async killMaster(slot) {
      const master = masterOf(slot);
      await master.stop();
      const living = all.filter((node) => node !== master);
      await isMasterFor(replicaAt[owner(slot)]!, living);
      await isWholeFor(living);
      swap(slot);
    },
    async stop() {
      client.disconnect();
      await Promise.all(all.map((node) => node.stop()));
    },
  };
}

/** A port whose bus port, 10,000 above it, is free, too. */
async function freePorts(): Promise<number> {
  for (;;) {
    const port = await freePort();
    const bus = port + BUS;
    if (bus > 65_535) continue;
    const isFree = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen(bus, () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

function isWhole(info: unknown, nodes: number): boolean {
  return /cluster_state:ok/.test(`${info}`) && `${info}`.includes(`cluster_known_nodes:${nodes}`);
}
