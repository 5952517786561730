/** From an endpoint of the configuration to a port. */
import type { Endpoint } from '../config.js';
import { type BudgetOptions, createBudget } from './budget.js';
import { ClusterRedis } from './cluster.js';
import { ClusterBudgets } from './cluster-budgets.js';
import { ClusterNodes } from './cluster-nodes.js';
import { Connection, type ConnectionOptions } from './connection.js';
import type { RedisPort } from './port.js';
import { StandaloneRedis } from './standalone.js';

export interface RedisOptions extends ConnectionOptions {
  /** How much of this Redis all workers of a link together may use. Default: it is not bounded. */
  readonly budget?: BudgetOptions;
}

/** Makes a port. Connects with the first call, not now; `check()` tells at once whether it can. */
export function connectRedis(endpoint: Endpoint, { budget, ...options }: RedisOptions): RedisPort {
  if ('cluster' in endpoint) {
    const nodes = new ClusterNodes(endpoint.cluster, options);
    return new ClusterRedis(nodes, budget && { budgets: new ClusterBudgets(budget) });
  }
  const connection = new Connection(endpoint, options);
  return new StandaloneRedis(connection, budget && { budget: createBudget(connection, budget) });
}
