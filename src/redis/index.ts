/** Redis behind one port: what the engine needs, whatever the topology. */

export { LEAVE_OLD_MASTER } from './address.js';
export { membersWorth } from './admission.js';
export { type Command, Connection, type LargeValues } from './connection.js';
export { checkDistinct } from './distinct.js';
export { encodeCommands } from './encode-command.js';
export { explain, explained } from './explain.js';
export { failureOf, RedisFailure } from './failure.js';
export { healthIn } from './health.js';
export type { KeyServers } from './key-servers.js';
export * from './key-state.js';
export * from './key-watch.js';
export * from './port.js';
export { countSlots, slotOf, tagIn } from './slots.js';
export { expectFurtherErrors } from './socket-errors.js';
export { TEMPORARY_LIFETIME_MS } from './temporary-key.js';
export { connectKeyServers, connectRedis, hasSlots, type RedisOptions } from './topology.js';
