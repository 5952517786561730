/** From an endpoint of the configuration to a port. */
import type { Endpoint } from '../config.js';
import type { ConnectionOptions } from './connection.js';
import type { RedisPort } from './port.js';
import { StandaloneRedis } from './standalone.js';

/**
 * Makes a port. Connects with the first call, not now; `check()` tells at once whether it can.
 * @throws Error with one line for a topology that is not supported
 */
export function connectRedis(endpoint: Endpoint, options: ConnectionOptions): RedisPort {
  if ('url' in endpoint) return new StandaloneRedis(endpoint.url, options);
  const topology = 'cluster' in endpoint ? 'cluster' : 'sentinel';
  throw new Error(`${options.name}: { ${topology}: … } is not supported yet; give { url } of one server`);
}
