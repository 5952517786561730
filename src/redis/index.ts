/** Redis behind one port: what the engine needs, whatever the topology. */

export { isAway, looksOut, type OutageListener } from './breaker.js';
export { membersWorth } from './budget/admission.js';
export { LEAVE_OLD_MASTER } from './connection/address.js';
export { type Command, Connection, type LargeValues } from './connection/connection.js';
export { encodeCommands } from './connection/encode-command.js';
export { explain, explained } from './connection/explain.js';
export { failureOf, isReplyError, OF_FILES, RedisFailure } from './connection/failure.js';
export { outliveSentinels } from './connection/sentinel-listeners.js';
export { expectFurtherErrors } from './connection/socket-errors.js';
export { DIFFERENT, digestOfHash, digestOfString, ROW_DIGEST, sha1, VALUE_DIGEST } from './content-digest.js';
export { checkDistinct } from './distinct.js';
export { compareWith, isComparable } from './dump.js';
export { type Health, type HealthOptions, healthIn, type ServerHealth } from './health.js';
export * from './key-members.js';
export * from './key-state.js';
export * from './key-watch.js';
export type { KeyPage, KeyServer, Keyspace, PageDigest } from './keyspace.js';
export * from './port.js';
export { versionDigits } from './row-versions.js';
export { packed } from './scripts/packed.js';
export { ALL_SLOTS, countSlots, slotOf } from './slots.js';
export { TEMPORARY_LIFETIME_MS } from './temporary-key.js';
export type { KeyServers, OneServer } from './topologies/key-servers.js';
export { connectKeyServers, connectRedis, hasSlots, type RedisOptions } from './topologies/topology.js';
export * from './whole-key.js';
export { markOf } from './writer-mark.js';
