/** Redis behind one port: what the engine needs, whatever the topology. */
export { connectRedis, type RedisOptions } from './connect.js';
export type { LargeValues } from './connection.js';
export { explain } from './explain.js';
export { RedisFailure } from './failure.js';
export * from './key-watch.js';
export * from './port.js';
