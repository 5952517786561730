/** From an endpoint of the configuration to a port. */
import type { Endpoint } from '../config.js';
import { type BudgetOptions, createBudget } from './budget.js';
import { Connection, type ConnectionOptions } from './connection.js';
import type { RedisPort } from './port.js';
import { StandaloneRedis } from './standalone.js';

export interface RedisOptions extends ConnectionOptions {
  /** How much of this Redis all workers of a link together may use. Default: it is not bounded. */
  readonly budget?: BudgetOptions;
}

/**
 * Makes a port. Connects with the first call, not now; `check()` tells at once whether it can.
 * @throws Error with one line for a topology that is not supported
 */
export function connectRedis(endpoint: Endpoint, options: RedisOptions): RedisPort {
  if ('cluster' in endpoint) {
    throw new Error(`${options.name}: { cluster: … } is not supported yet; give { url } or { sentinel } of one server`);
  }
  const connection = new Connection(endpoint, options);
  return new StandaloneRedis(connection, options.budget && { budget: createBudget(connection, options.budget) });
}
