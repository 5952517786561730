/** A target that is one server: every mirrored write takes the connection of the client. */
import type { Redis } from 'ioredis';
import { Shard } from './shard.js';
import type { Target, TargetOptions } from './target.js';

/** @param client one with `mirrorOptions`, that nobody else uses */
export function createServerTarget(client: Redis, options: TargetOptions): Target {
  const { sentinels, name, path, host, port } = client.options;
  const shard = new Shard({
    name: (sentinels ? name : path) ?? `${host}:${port}`,
    client,
    isOfCluster: false,
    ...options,
  });
  return {
    send: (unit, begin) => shard.send(unit, begin(unit)),
    stats: () => [shard.stats],
    abandon: () => shard.abandon(),
    close: () => shard.stop(),
  };
}
