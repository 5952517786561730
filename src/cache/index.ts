/** What an application imports as `keymend/cache`. */
export { type Cache, type CacheOptions, createCache } from './cache.js';
export { outboxTable } from './outbox.js';
export { type OutboxRelay, type OutboxRelayOptions, startOutboxRelay } from './relay.js';
