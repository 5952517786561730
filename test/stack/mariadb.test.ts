import { createConnection } from 'mysql2/promise';
import { expect, test } from 'vitest';
import { stackDown, stackStatus, stackUp } from '../../src/stack/index.js';
import { onlyStarting, silent, stackDirectory } from './scratch.js';

test('a MariaDB is there when asked for, keeps its data, and goes down with the others', async () => {
  const directory = stackDirectory();
  const environment = onlyStarting();
  const options = { directory, environment, report: silent, preferredPorts: 'free' } as const;
  expect(await stackUp(options)).not.toHaveProperty('mysql');
  expect((await stackStatus(options)).map(({ service }) => service)).not.toContain('mariadb');

  const query = async (sql: string) => {
    const { mysql } = await stackUp({ ...options, mysql: true });
    const connection = await createConnection(mysql!);
    const [rows] = await connection.query(sql).finally(() => connection.destroy());
    return rows;
  };
  await query('CREATE TABLE users AS SELECT 7 AS id');
  expect((await stackStatus(options)).at(-1)).toMatchObject({ service: 'mariadb', state: 'running', answers: true });
  expect(await stackDown({ directory, report: silent })).toEqual({ stopped: ['mariadb'] });
  expect((await stackStatus(options)).at(-1)).toMatchObject({ service: 'mariadb', state: 'stopped' });
  expect(await query('SELECT id FROM users')).toEqual([{ id: 7 }]);
  await stackDown({ directory, report: silent });
});
