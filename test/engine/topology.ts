/** Links whose sides are one server or a Cluster, for tests of the engine. */
import type { Cluster, Redis } from 'ioredis';
import { type KeyRequest, type KeyResult, reconcileKeys, reconcileLargeKey } from '../../src/engine/index.js';
import type { BudgetOptions } from '../../src/redis/budget/budget.js';
import { connectRedis, type LargeValues, type RedisPort } from '../../src/redis/index.js';
import { slotOf } from '../../src/redis/slots.js';
import { type RedisCluster, startCluster } from '../support/cluster.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { DEFAULT_OPTIONS } from './link.js';

/** How many masters a Cluster has; or no Cluster. */
export type Topology = number | 'one server';

export interface Side {
  readonly client: Redis | Cluster;
  readonly nodes: readonly RedisServer[];
  readonly port: RedisPort;
  clear(): Promise<void>;
  stop(): Promise<void>;
}

export interface ClusterSide extends Side {
  readonly cluster: RedisCluster;
  nodeOf(key: string | Buffer): RedisServer;
  /** A node that has not the key. */
  otherNode(key: string | Buffer): RedisServer;
  /**
   * The slot of the key begins to move, and with it the key, if it is there: from now on only the
   * other node has it.
   */
  moveHalfWay(key: string | Buffer): Promise<RedisServer>;
}

export interface SideOptions {
  readonly largeValues?: LargeValues;
  readonly commandTimeoutMs?: number;
  readonly binary?: string;
  /** Added to the environment of a node of a Cluster, by its index. */
  environmentOf?(index: number): NodeJS.ProcessEnv;
  readonly budget?: BudgetOptions;
}

export async function startSide(name: string, topology: Topology, options: SideOptions = {}): Promise<Side> {
  return topology === 'one server' ? startServer(name, options) : startClusterSide(name, topology, options);
}

async function startServer(name: string, { binary, ...options }: SideOptions): Promise<Side> {
  const server = await startRedis([], binary === undefined ? {} : { binary });
  const port = connectRedis({ url: server.url }, { name, ...options });
  return {
    client: server.client,
    nodes: [server],
    port,
    async clear() {
      await server.client.flushall();
    },
    async stop() {
      await port.close();
      await server.stop();
    },
  };
}

export async function startClusterSide(name: string, masters: number, options: SideOptions = {}): Promise<ClusterSide> {
  const cluster = await startCluster(masters, options);
  const port = connectRedis({ cluster: [cluster.nodes[0]!.url] }, { name, ...options });
  const nodeOf = (key: string | Buffer) => cluster.masterOf(slotOf(Buffer.from(key as Buffer)));
  const otherNode = (key: string | Buffer) => cluster.nodes.find((node) => node !== nodeOf(key))!;
  return {
    client: cluster.client,
    nodes: cluster.nodes,
    port,
    cluster,
    nodeOf,
    otherNode,
    async moveHalfWay(key) {
      const [from, to] = [nodeOf(key), otherNode(key)];
      await cluster.startMovingSlot(slotOf(Buffer.from(key as Buffer)), to);
      await from.client.migrate('127.0.0.1', to.port, key, 0, 5_000);
      return to;
    },
    async clear() {
      await Promise.all(cluster.nodes.map(({ client }) => client.flushall()));
    },
    async stop() {
      await port.close();
      await cluster.stop();
    },
  };
}

/** As a worker does it: a key that is too large for the first attempt gets one of its own. */
export async function reconcileAnySize(
  sides: { readonly source: RedisPort; readonly target: RedisPort },
  requests: readonly KeyRequest[],
): Promise<KeyResult[]> {
  const results = await reconcileKeys(sides, requests, DEFAULT_OPTIONS);
  return Promise.all(
    results.map((result, index) =>
      result.outcome === 'large'
        ? reconcileLargeKey(sides, requests[index]!, { ...DEFAULT_OPTIONS, onProgress() {} })
        : result,
    ),
  );
}
