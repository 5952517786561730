/** The relay of the outbox table where others hold it up. */
import type { Pool } from 'mysql2/promise';
import { expect, test } from 'vitest';
import { createCache, startOutboxRelay } from '../../src/cache/index.js';
import { recordInvalidations } from '../../src/cache/outbox.js';
import { provideMariadb } from '../../src/stack/programs/index.js';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { until } from '../support/eventually.js';
import type { RedisServer } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import { openShop } from './shop.js';

await describeWith('a relay of the outbox', provideMariadb, (programs) => {
  let redis: RedisServer;
  let mysql: Pool;
  const table = { columns: 'id BIGINT PRIMARY KEY, name VARCHAR(64)', user: "1, 'old'" };
  const closing = openShop(programs, table, (shop) => {
    ({ redis, mysql } = shop);
  });

  function openCache() {
    const cache = createCache({ redis: redis.client, mysql, link: 'shop' });
    closing.push(() => cache.close());
    return cache;
  }

  test.each([1, 50, 500])('waits for no write that is not committed yet, with %i rows to take', async (rows) => {
    const cache = openCache();
    const written = Array.from({ length: rows }, (_, id) => `n:${id}`);
    for (let first = 0; first < rows; first += 100)
      await cache.update(written.slice(first, first + 100), async () => {});
    const transaction = await mysql.getConnection();
    closing.push(() => transaction.destroy());
    await transaction.beginTransaction();
    await recordInvalidations(transaction, { table: 'keymend_outbox', link: 'shop' }, [Buffer.from('n:late')]);
    const keys: string[] = [];
    const sink = { publish: async (more: readonly FailedWrite[]) => void keys.push(...more.map(({ key }) => key)) };
    const relay = startOutboxRelay({ mysql, sink, pollMs: 10 });
    await until(async () => keys.length >= rows);
    expect(keys).toEqual(written);
    await transaction.commit();
    await until(async () => keys.length > rows);
    expect(keys.at(-1)).toBe('n:late');
    await relay.stop();
  });
});
