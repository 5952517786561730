/** Connections to a database: so many at once, and none is lost for good. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Pool } from '../../src/mysql/pool.js';
import { provideMariadb } from '../../src/stack/programs/index.js';
import { eventually } from '../support/eventually.js';
import { type MariadbServer, startMariadb } from '../support/mariadb.js';
import { describeWith } from '../support/services.js';

await describeWith('a pool of connections', provideMariadb, (programs) => {
  let mariadb: MariadbServer;
  beforeAll(async () => {
    mariadb = await startMariadb(programs);
  });
  afterAll(() => mariadb?.stop());

  const poolOf = (size: number) => {
    const { port } = mariadb;
    return new Pool(size, () => ({ host: '127.0.0.1', port, user: 'root' }));
  };
  const idOf = async (connection: Awaited<ReturnType<Pool['take']>>) => {
    const [[row]] = (await connection.query('SELECT CONNECTION_ID() AS id')) as unknown as [[{ id: number }]];
    return row.id;
  };
  const isPending = async (promise: Promise<unknown>) => {
    const pending = Symbol('pending');
    return (await Promise.race([promise, new Promise((resolve) => setTimeout(resolve, 50, pending))])) === pending;
  };

  test('has no more than so many: who comes then waits, and gets one that is given back', async () => {
    const pool = poolOf(2);
    const [one, other] = [await pool.take(), await pool.take()];
    const third = pool.take();
    expect(await isPending(third)).toBe(true);
    const id = await idOf(other);
    pool.release(other);
    expect(await idOf(await third)).toBe(id);
    pool.release(one);
    pool.release(await third);
    await pool.close();
  });

  test('makes another one in the place of each that is destroyed, however often', async () => {
    const pool = poolOf(1);
    const ids = new Set<number>();
    for (let time = 0; time < 3; time++) {
      const connection = await pool.take();
      const next = pool.take();
      ids.add(await idOf(connection));
      pool.destroy(connection);
      pool.release(await next);
      pool.destroy(await pool.take());
    }
    expect(ids.size).toBe(3);
    await pool.close();
  });

  test('does not hand out one that the server has ended', async () => {
    const pool = poolOf(1);
    const connection = await pool.take();
    const id = await idOf(connection);
    pool.release(connection);
    await mariadb.client.query(`KILL ${id}`);
    await eventually(async () => {
      const another = await pool.take();
      // Who is not told yet finds out by asking.
      try {
        expect(await idOf(another)).not.toBe(id);
        pool.release(another);
      } catch (error) {
        pool.destroy(another);
        throw error;
      }
    });
    await pool.close();
  });

  test('that could not connect has its place for the next one', async () => {
    let port = 1;
    const pool = new Pool(1, () => ({ host: '127.0.0.1', port, user: 'root' }));
    await expect(pool.take()).rejects.toThrow('ECONNREFUSED');
    port = mariadb.port;
    pool.release(await pool.take());
    await pool.close();
  });

  test('tells those that wait when it is closed, and ends what is given back afterwards', async () => {
    const pool = poolOf(1);
    const connection = await pool.take();
    const id = await idOf(connection);
    const waiting = expect(pool.take()).rejects.toThrow('it was closed here');
    await pool.close();
    pool.release(connection);
    await waiting;
    await eventually(async () => {
      const [processes] = (await mariadb.client.query('SHOW PROCESSLIST')) as unknown as [{ Id: number }[]];
      expect(processes.map(({ Id }) => Id)).not.toContain(id);
    });
  });
});
