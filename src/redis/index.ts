/** Redis behind one port: what the engine needs, whatever the topology. */
export { connectRedis } from './connect.js';
export { Connection, type ConnectionOptions, type LargeValues } from './connection.js';
export { explain } from './explain.js';
export { failureOf, RedisFailure } from './failure.js';
export * from './port.js';
export * from './stream.js';
export * from './stream-group.js';
