/** MariaDB, for links whose source is a database: one server, with the database `shop`. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import { ulid } from 'ulid';
import { HOST } from './processes/ports.js';
import { run } from './programs/command.js';
import { type MariadbPrograms, provideMariadb } from './programs/mariadb.js';
import type { Provision } from './programs/provision.js';
import { withProgress } from './progress.js';
import { portOf, type Service } from './service.js';

const ANSWER_WITHIN_MS = 5_000;
const INSTALL_WITHIN_MS = 60_000;
const DATABASE = 'shop';

export const mariadbService: Service = {
  name: 'mariadb',
  title: 'MariaDB',
  ports: ['mysql'],

  async provide(provision) {
    const programs = await provideMariadb(provision);
    return async (folder, ports) => {
      const data = await installOnce(provision, programs, folder);
      return {
        program: programs.server,
        arguments: [
          ...['--no-defaults', `--datadir=${data}`, `--user=${userInfo().username}`, `--tmpdir=${folder}`],
          ...[`--bind-address=${HOST}`, `--port=${portOf(ports, 'mysql')}`, '--skip-name-resolve'],
          ...['--socket=mariadbd.sock', `--pid-file=${join(folder, 'mariadbd.pid')}`],
        ],
        environment: provision.environment,
      };
    };
  },

  async answers(ports) {
    const at = { host: HOST, port: portOf(ports, 'mysql'), user: 'root', connectTimeout: ANSWER_WITHIN_MS };
    const connection = await createConnection(at);
    try {
      await connection.query({ sql: `CREATE DATABASE IF NOT EXISTS ${DATABASE}`, timeout: ANSWER_WITHIN_MS });
    } finally {
      connection.destroy();
    }
  },
};

/** For this machine alone, so without a password. */
export function mariadbUrl(port: number): string {
  return `mysql://root@${HOST}:${port}/${DATABASE}`;
}

/**
 * Makes its folder before the first start: in a draft that becomes the data when complete, each
 * attempt in one of its own, for a program goes on for a moment when we are killed.
 */
async function installOnce(provision: Provision, programs: MariadbPrograms, folder: string): Promise<string> {
  const data = join(folder, 'data');
  if (existsSync(data)) return data;
  const draft = `${data}.draft-${ulid()}`;
  mkdirSync(folder, { recursive: true });
  const who = ['--auth-root-authentication-method=normal', '--skip-test-db', `--user=${userInfo().username}`];
  const { environment, signal } = provision;
  await withProgress(provision.report, 'MariaDB: making its folder', () =>
    run(programs.install, ['--no-defaults', `--datadir=${draft}`, `--tmpdir=${folder}`, ...who], {
      environment,
      timeoutMs: INSTALL_WITHIN_MS,
      signal,
    }),
  );
  renameSync(draft, data);
  for (const name of readdirSync(folder)) {
    if (name.startsWith('data.draft-')) rmSync(join(folder, name), { recursive: true, force: true });
  }
  return data;
}
