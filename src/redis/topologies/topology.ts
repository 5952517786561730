/**
 * From an endpoint of the configuration to whatever reaches its servers: the one place of the
 * repair that tells one server from a Cluster. A further one is a case in each of these functions
 * and an adapter of the port. How the one server is found, Sentinel's work, is in
 * connection/address.ts. For clients of an application: dual-write/topology.ts, outbox/client.ts.
 */
import type { Endpoint } from '../../config.js';
import { Breakers, type OutageListener } from '../breaker.js';
import { type BudgetOptions, createBudget } from '../budget/budget.js';
import { ClusterBudgets } from '../budget/cluster-budgets.js';
import { Connection, type ConnectionOptions } from '../connection/connection.js';
import type { RedisPort } from '../port.js';
import { ClusterRedis } from './cluster.js';
import { ClusterNodes } from './cluster-nodes.js';
import { KeyServers, serversOfCluster, theOneServer } from './key-servers.js';
import { StandaloneRedis } from './standalone.js';

export interface RedisOptions extends ConnectionOptions {
  /** How much of this Redis all workers of a link together may use. Default: it is not bounded. */
  readonly budget?: BudgetOptions;
  /** Told when one of its servers does not answer. Keys wait then. Default: they fail. */
  readonly outages?: OutageListener;
}

/** Makes a port. Connects with the first call, not now; `check()` tells at once whether it can. */
export function connectRedis(endpoint: Endpoint, { budget, outages, ...options }: RedisOptions): RedisPort {
  const breakers = outages && { breakers: new Breakers(outages) };
  if ('cluster' in endpoint) {
    const nodes = new ClusterNodes(endpoint.cluster, options, endpoint);
    return new ClusterRedis(nodes, { ...breakers, ...(budget && { budgets: new ClusterBudgets(budget) }) });
  }
  const connection = new Connection(endpoint, options);
  return new StandaloneRedis(connection, {
    ...breakers,
    ...(budget && { budget: createBudget(connection, budget) }),
  });
}

/** For single commands about keys of ours. Connects with the first command. */
export function connectKeyServers(endpoint: Endpoint, options: ConnectionOptions): KeyServers {
  return new KeyServers(
    'cluster' in endpoint
      ? serversOfCluster(new ClusterNodes(endpoint.cluster, options, endpoint))
      : theOneServer(new Connection(endpoint, options)),
  );
}

/**
 * Whether its keys are spread over slots, so that those of one script or transaction must share a
 * hash tag.
 */
export function hasSlots(endpoint: Endpoint): boolean {
  return 'cluster' in endpoint;
}
