/** What keys of a benchmark hold. */
import type { Redis } from 'ioredis';

type Fill = (key: number, version: string) => (string | number)[];

export const FILLS: Readonly<Record<string, Fill>> = {
  strings: (key, version) => ['SET', `k${key}`, `value-${version}-${key}`],
  'hashes of 3 fields': (key, version) => ['HSET', `k${key}`, 'name', `n${key}`, 'state', version, 'count', key],
  'lists of 5 elements': (key, version) => ['RPUSH', `k${key}`, 'a', 'b', version, 'd', key],
  'sets of 5 members': (key, version) => ['SADD', `k${key}`, 'a', 'b', version, 'd', `m${key}`],
};
export const mixed: Fill = (key, version) => Object.values(FILLS)[key % Object.keys(FILLS).length]!(key, version);

/** Empties a server and makes `k0` to so many. */
export async function fill(redis: Redis, keys: number, how: Fill, version: string): Promise<void> {
  await redis.flushall();
  for (let first = 0; first < keys; first += 5_000) {
    const pipeline = redis.pipeline();
    for (let key = first; key < Math.min(keys, first + 5_000); key++) {
      const [command, ...args] = how(key, version);
      pipeline.call(String(command), args);
    }
    await pipeline.exec();
  }
}

/** What a server is asked about a key, to be compared with what another one says. */
export const DIGEST = `return {redis.sha1hex(redis.call('DUMP', KEYS[1])), redis.call('PEXPIRETIME', KEYS[1])}`;

/** @param sha of `DIGEST`, which the server has loaded */
export async function digests(redis: Redis, sha: string, keys: readonly Buffer[]): Promise<unknown[]> {
  const pipeline = redis.pipeline();
  for (const key of keys) pipeline.evalsha(sha, 1, key);
  return (await pipeline.exec())!.map(([, reply]) => reply);
}

/** Bytes that servers have sent and received so far. */
export async function traffic(...servers: readonly Redis[]): Promise<number> {
  const stats = await Promise.all(servers.map((redis) => redis.info('stats')));
  return stats
    .flatMap((text) => [...text.matchAll(/total_net_(?:in|out)put_bytes:(\d+)/g)])
    .reduce((sum, [, bytes]) => sum + Number(bytes), 0);
}
