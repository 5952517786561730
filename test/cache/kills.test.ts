/** Processes that are killed between their commit and their delete: none of the records is lost. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createPool, type RowDataPacket } from 'mysql2/promise';
import pMap from 'p-map';
import { expect, test } from 'vitest';
import { outboxTable, startOutboxRelay } from '../../src/cache/index.js';
import { provideMariadb } from '../../src/stack/programs/index.js';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { IS_FULL } from '../support/cases.js';
import { until } from '../support/eventually.js';
import { startMariadb } from '../support/mariadb.js';
import { startRedis } from '../support/redis.js';
import { describeWith } from '../support/services.js';

const KILLS = IS_FULL ? 1_000 : 4;
const FULL_MS = 3_600_000;
const KILLED = fileURLToPath(new URL('killed.js', import.meta.url));

await describeWith('a process that updates through keymend/cache', provideMariadb, (programs) => {
  test(
    'leaves its record when it is killed between commit and delete',
    async () => {
      const [mariadb, redis] = await Promise.all([startMariadb(programs), startRedis()]);
      const url = `mysql://root@127.0.0.1:${mariadb.port}/shop`;
      const mysql = createPool(url);
      const ids = [...Array(KILLS).keys()];
      try {
        await mysql.query('CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(64))');
        await mysql.query(outboxTable());
        await mysql.query(`INSERT INTO users VALUES ${ids.map((id) => `(${id}, 'old')`).join(', ')}`);
        const kill = async (id: number) => {
          const run = promisify(execFile)(process.execPath, [KILLED, redis.url, url, `${id}`]);
          await expect(run).rejects.toMatchObject({ signal: 'SIGKILL' });
        };
        await pMap(ids, kill, { concurrency: 4 });
        const [renamed] = await mysql.query<RowDataPacket[]>("SELECT id FROM users WHERE name = 'new'");
        expect(renamed).toHaveLength(KILLS);
        // What was cached before the commit is still there: nobody has deleted it.
        expect(await redis.client.exists(...ids.map((id) => `n:${id}`))).toBe(KILLS);
        const records: FailedWrite[] = [];
        const sink = { publish: async (more: readonly FailedWrite[]) => void records.push(...more) };
        const relay = startOutboxRelay({ mysql, sink, pollMs: 10 });
        await until(async () => records.length >= KILLS);
        await relay.stop();
        expect(new Set(records.map(({ key }) => key))).toEqual(new Set(ids.map((id) => `n:${id}`)));
      } finally {
        await mysql.end();
        await Promise.all([mariadb.stop(), redis.stop()]);
      }
    },
    FULL_MS,
  );
});
