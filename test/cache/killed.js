/** A process that updates one row through keymend/cache, and is killed behind its commit. */
import { Redis } from 'ioredis';
import { createCache } from 'keymend/cache';
import { createPool } from 'mysql2/promise';

const [, , redisUrl, mysqlUrl, id] = process.argv;
const pool = createPool(mysqlUrl);
const mysql = {
  async getConnection() {
    const connection = await pool.getConnection();
    const commit = connection.commit.bind(connection);
    connection.commit = async () => {
      await commit();
      process.kill(process.pid, 'SIGKILL');
    };
    return connection;
  },
};
const cache = createCache({ redis: new Redis(redisUrl), mysql, link: 'shop' });
await cache.update(`n:${id}`, async (tx) => {
  // A reader fills between the first delete and the commit: only a delete behind it would help.
  await new Redis(redisUrl).set(`n:${id}`, 'old');
  await tx.query("UPDATE users SET name = 'new' WHERE id = ?", [id]);
});
