/** The source of a link, whatever it is. */
import type { LinkConfig } from '../config.js';
import { LARGE_VALUES } from '../defaults.js';
import { connectRedis, type RedisOptions, type RedisPort } from '../redis/index.js';
import { Database } from './database.js';
import { MysqlSource } from './source.js';

/** Connects with the first call, not now; `check()` tells at once whether it can. */
export function connectSource({ source, mappings }: LinkConfig, options: RedisOptions): RedisPort {
  if (!('mysql' in source)) return connectRedis(source, options);
  const { name, commandTimeoutMs, largeValues = LARGE_VALUES } = options;
  return new MysqlSource(
    // Two are already an error, and a query that fits no key may find all there are.
    new Database(source.mysql, { name, timeoutMs: commandTimeoutMs, mostRows: 2 }),
    mappings ?? [],
    largeValues,
  );
}

/** A cache of what link `link` reads, or undefined where both of its sides are Redis. */
export function cacheModeOf({ source, mode = 'invalidate' }: LinkConfig): 'invalidate' | 'refresh' | undefined {
  return 'mysql' in source ? mode : undefined;
}
