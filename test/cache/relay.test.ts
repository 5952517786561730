/** The relay of the outbox table where others hold it up. */
import { createPool, type Pool, type PoolOptions, type RowDataPacket } from 'mysql2/promise';
import { expect, test } from 'vitest';
import { createCache, startOutboxRelay } from '../../src/cache/index.js';
import { recordInvalidations } from '../../src/cache/outbox.js';
import { RecordsRefusedError } from '../../src/events/record-sink.js';
import { provideMariadb } from '../../src/stack/programs/index.js';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { until } from '../support/eventually.js';
import type { RedisServer } from '../support/redis.js';
import { startRelay } from '../support/relay.js';
import { describeWith } from '../support/services.js';
import { openShop } from './shop.js';

await describeWith('a relay of the outbox', provideMariadb, (programs) => {
  let redis: RedisServer;
  let mysql: Pool;
  let place: PoolOptions;
  const table = { columns: 'id BIGINT PRIMARY KEY, name VARCHAR(64)', user: "1, 'old'" };
  const closing = openShop(programs, table, (shop) => {
    ({ redis, mysql, place } = shop);
  });

  function openCache() {
    const cache = createCache({ redis: redis.client, mysql, link: 'shop' });
    closing.push(() => cache.close());
    return cache;
  }

  const sinkTo = (keys: string[]) => ({
    publish: async (more: readonly FailedWrite[]) => void keys.push(...more.map(({ key }) => key)),
  });

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
    const sink = sinkTo(keys);
    const relay = startOutboxRelay({ mysql, sink, pollMs: 10 });
    await until(async () => keys.length >= rows);
    expect(keys).toEqual(written);
    await transaction.commit();
    await until(async () => keys.length > rows);
    expect(keys.at(-1)).toBe('n:late');
    await relay.stop();
  });

  test.each(['shop', ''])('takes a table of another database, with "%s" as its own', async (database) => {
    await mysql.query('CREATE DATABASE IF NOT EXISTS other');
    await mysql.query('CREATE TABLE IF NOT EXISTS other.away LIKE keymend_outbox');
    const pool = createPool({ ...place, database });
    closing.push(() => pool.end());
    const connection = await pool.getConnection();
    await recordInvalidations(connection, { table: 'other.away', link: 'shop' }, [Buffer.from('n:1')]);
    connection.release();
    const keys: string[] = [];
    const relay = startOutboxRelay({ mysql: pool, sink: sinkTo(keys), table: 'other.away', pollMs: 10 });
    await until(async () => {
      const [[left]] = await pool.query<RowDataPacket[]>('SELECT COUNT(*) AS count FROM other.away');
      return Number(left!.count) === 0;
    });
    expect(keys).toEqual(['n:1']);
    await relay.stop();
  });

  test('keeps the rows that its sink refuses, also where the sink names them by copies, and no others', async () => {
    await openCache().update(['n:1', 'n:2'], async () => {});
    const problems: string[] = [];
    const sink = {
      publish: (records: readonly FailedWrite[]) =>
        Promise.reject(new RecordsRefusedError('too large', structuredClone(records.slice(0, 1)))),
    };
    const relay = startOutboxRelay({ mysql, sink, pollMs: 10, onProblem: ({ message }) => problems.push(message) });
    await until(async () => problems.length > 0);
    await relay.stop();
    const [[left]] = await mysql.query<RowDataPacket[]>('SELECT COUNT(*) AS count FROM keymend_outbox');
    expect(left).toEqual({ count: 1 });
  });

  test('whose host stands still while its sink works frees its rows, and is told of it', async () => {
    await openCache().update('n:1', async () => {});
    const [problems, keys]: [string[], string[]] = [[], []];
    let goOn = () => {};
    const standing = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    let hasBegun = () => {};
    const begun = new Promise<void>((resolve) => {
      hasBegun = resolve;
    });
    const hanging = {
      publish: () => {
        hasBegun();
        return standing;
      },
    };
    const onProblem = ({ message }: Error) => problems.push(message);
    const first = startOutboxRelay({ mysql, sink: hanging, timeoutMs: 100, pollMs: 10, onProblem });
    await begun;
    const sink = sinkTo(keys);
    const second = startOutboxRelay({ mysql, sink, pollMs: 10 });
    await until(async () => keys.length > 0);
    expect(keys).toEqual(['n:1']);
    expect(problems).toContain('a round takes longer than 100 ms; see that MySQL and the sink answer');
    goOn();
    await Promise.all([first.stop(), second.stop()]);
  });

  test('whose MySQL is gone without a word says so, can be stopped, and goes on when it is back', async () => {
    await openCache().update('n:1', async () => {});
    const way = await startRelay(place.port!);
    closing.push(() => way.close());
    const pool = createPool({ ...place, port: way.port });
    closing.push(() => pool.end());
    way.holdFrom('DELETE `keymend_outbox`');
    const [problems, keys]: [string[], string[]] = [[], []];
    const sink = sinkTo(keys);
    const onProblem = ({ message }: Error) => problems.push(message);
    const relay = startOutboxRelay({ mysql: pool, sink, timeoutMs: 500, pollMs: 10, onProblem });
    await way.held();
    await until(async () => problems.includes('Query inactivity timeout'));
    await relay.stop();
    expect(keys).toEqual([]);
    way.cut();
    way.deliver();
    const again = startOutboxRelay({ mysql: pool, sink, pollMs: 10, onProblem });
    await until(async () => keys.length > 0);
    await again.stop();
  });

  test('leaves the sessions of the pool as they were', async () => {
    const pool = createPool({ ...place, connectionLimit: 1 });
    closing.push(() => pool.end());
    await pool.query('SET SESSION wait_timeout = 1234');
    await openCache().update('n:1', async () => {});
    const keys: string[] = [];
    const sink = sinkTo(keys);
    const relay = startOutboxRelay({ mysql: pool, sink, pollMs: 10 });
    await until(async () => keys.length > 0);
    await relay.stop();
    const [[session]] = await pool.query<RowDataPacket[]>('SELECT @@SESSION.wait_timeout AS seconds');
    expect(session).toEqual({ seconds: 1234 });
  });
});
