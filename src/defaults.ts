/**
 * What keymend.yaml means when it is silent, where code that never reads it must agree. The
 * defaults of settle, verify, retry and escalation are workflows/policy.ts; all others stand in
 * config.ts.
 */

/** The key of the outbox: `stream.key`. */
export const OUTBOX_KEY = 'keymend:outbox';

/**
 * A value with more elements or bytes than these is large: `largeValues` of a link, which may only
 * lower them. One call goes through as much, and must not hold a server for long.
 */
export const LARGE_VALUES = { elements: 5_000, bytes: 1024 * 1024 };

/**
 * How long a reader of `keymend/cache` may take to load, in ms, and how long a link whose source is
 * a database waits for its second look. A lease that outlives `settle` could fill behind it.
 */
export const CACHE_LEASE_MS = 2_000;

/** How long a cache remembers which version a row has: longer than a replica ever lags. */
export const CACHE_LAG_MS = 600_000;

/** The longest name of a link, in characters. */
export const MAX_LINK_LENGTH = 64;

/** What it may be. */
export const LINK_NAME = new RegExp(`^[A-Za-z0-9][A-Za-z0-9._-]{0,${MAX_LINK_LENGTH - 1}}$`);
