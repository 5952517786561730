/** Redis behind one port: what the engine needs, whatever the topology. */
export { type Address, LEAVE_OLD_MASTER } from './address.js';
export { connectRedis, type RedisOptions } from './connect.js';
export { Connection, type ConnectionOptions, type LargeValues } from './connection.js';
export * from './consumer-group.js';
export { checkDistinct } from './distinct.js';
export { encodeCommands } from './encode-command.js';
export { explain, explained } from './explain.js';
export { failureOf, RedisFailure } from './failure.js';
export { healthIn } from './health.js';
export { KeyServers } from './key-servers.js';
export * from './key-watch.js';
export * from './port.js';
export { countSlots, slotOf } from './slots.js';
export * from './stream.js';
