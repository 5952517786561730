/** A shop: a table of users in a real MariaDB, and an empty Redis in front of it. */
import { createPool, type Pool, type PoolOptions } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { outboxTable } from '../../src/cache/index.js';
import { startMariadb } from '../support/mariadb.js';
import { type RedisServer, startRedis } from '../support/redis.js';

export interface Shop {
  readonly redis: RedisServer;
  readonly mysql: Pool;
  /** Where that leads. */
  readonly place: PoolOptions;
}

/**
 * Starts both for a suite; before each test Redis and the outbox are empty, and there is one user.
 * @param columns of its table
 * @param user their values
 * @returns where what a test opens is to be closed behind it
 */
export function openShop(
  programs: Parameters<typeof startMariadb>[0],
  { columns, user }: { readonly columns: string; readonly user: string },
  opened: (shop: Shop) => void,
): (() => unknown)[] {
  const closing: (() => unknown)[] = [];
  const stops: (() => unknown)[] = [];
  let shop: Shop;
  beforeAll(async () => {
    const [mariadb, redis] = await Promise.all([startMariadb(programs), startRedis()]);
    const place = { host: '127.0.0.1', port: mariadb.port, user: 'root', database: 'shop' };
    const mysql = createPool({ ...place, connectionLimit: 20 });
    stops.push(
      () => mysql.end(),
      () => Promise.all([mariadb.stop(), redis.stop()]),
    );
    shop = { redis, mysql, place };
    opened(shop);
    await mysql.query(`CREATE TABLE users (${columns})`);
    await mysql.query(outboxTable());
  });
  afterAll(async () => {
    for (const stop of stops) await stop();
  });
  beforeEach(async () => {
    await shop.redis.client.flushall();
    await shop.mysql.query('DELETE FROM keymend_outbox');
    await shop.mysql.query(`REPLACE INTO users VALUES (${user})`);
  });
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });
  return closing;
}
