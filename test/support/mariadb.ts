/** A real MariaDB for tests: one process on a free port, gone when the test is. */
import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Connection, createConnection } from 'mysql2/promise';
import type { MariadbPrograms } from '../../src/stack/programs/index.js';
import { freePort } from './redis.js';

export interface MariadbServer {
  /** Of the database `shop`, as a user that may only read. */
  readonly url: string;
  readonly port: number;
  /** For the test itself, as root, in the database `shop`. */
  readonly client: Connection;
  /** Another one. */
  connect(): Promise<Connection>;
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

export async function startMariadb(programs: MariadbPrograms, extra: readonly string[] = []): Promise<MariadbServer> {
  const directory = mkdtempSync(join(tmpdir(), 'keymend-mariadb-'));
  chmodSync(directory, 0o755);
  const data = join(directory, 'data');
  const { username } = userInfo();
  const install = ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'];
  // Each in a folder of its own: a server that starts deletes the temporary tables of others.
  const env = { ...process.env, TMPDIR: directory };
  await promisify(execFile)(programs.install, [...install, `--user=${username}`, `--tmpdir=${directory}`], { env });
  const port = await freePort();
  const usual = ['--no-defaults', `--datadir=${data}`, `--socket=${join(directory, 'socket')}`, `--user=${username}`];
  const speed = ['--innodb-flush-log-at-trx-commit=0', '--innodb-buffer-pool-size=32M', '--skip-name-resolve'];
  const where = [`--port=${port}`, '--bind-address=127.0.0.1', `--pid-file=${join(directory, 'pid')}`];
  const child = spawn(programs.server, [...usual, ...speed, ...where, ...extra], { stdio: 'ignore', env });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  // A test run that dies must not leave servers behind.
  const killOnExit = () => child.kill('SIGKILL');
  process.once('exit', killOnExit);
  const options = { host: '127.0.0.1', port, user: 'root', supportBigNumbers: true, multipleStatements: true };
  const client = await untilUp(() => createConnection(options), exited);
  await client.query("CREATE DATABASE shop; USE shop; CREATE USER reader IDENTIFIED BY 'se/cret'");
  await client.query('GRANT SELECT ON shop.* TO reader');
  return {
    url: `mysql://reader:se%2Fcret@127.0.0.1:${port}/shop`,
    port,
    client,
    connect: () => createConnection({ ...options, database: 'shop' }),
    freeze: () => child.kill('SIGSTOP'),
    thaw: () => child.kill('SIGCONT'),
    async stop() {
      process.removeListener('exit', killOnExit);
      client.destroy();
      child.kill('SIGCONT');
      child.kill('SIGKILL');
      await exited;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function untilUp(connect: () => Promise<Connection>, exited: Promise<void>): Promise<Connection> {
  let hasEnded = false;
  void exited.then(() => {
    hasEnded = true;
  });
  for (;;) {
    try {
      return await connect();
    } catch (error) {
      if (hasEnded) throw new Error('mariadbd ended at once', { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
