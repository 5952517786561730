import { Cluster, type Redis } from 'ioredis';
import { type CompareOptions, compareDatabases, type Difference } from '../../src/demo/compare.js';

/**
 * @returns every key that is not the same on both sides, keymend's own (`keymend:…`) left out;
 *   empty when they are equal
 */
export async function compareRedis(
  a: Redis | Cluster,
  b: Redis | Cluster,
  options?: CompareOptions,
): Promise<readonly Difference[]> {
  return (await compareDatabases(asOne(a), asOne(b), options)).differences;
}

/** A Cluster in as far as the comparison asks: all its keys, and pipelines over any of them. */
function asOne(redis: Redis | Cluster): Redis {
  if (!(redis instanceof Cluster)) return redis;
  const one = {
    async *scanBufferStream(options: object) {
      for (const node of redis.nodes('master')) yield* node.scanBufferStream(options);
    },
    pipeline() {
      const replies: Promise<[unknown, unknown]>[] = [];
      const pipeline = {
        callBuffer(name: string, args: (string | Buffer)[]) {
          replies.push(
            redis.callBuffer(name, ...args).then(
              (reply) => [null, reply],
              (error) => [error, undefined],
            ),
          );
          return pipeline;
        },
        exec: () => Promise.all(replies),
      };
      return pipeline;
    },
  };
  return one as unknown as Redis;
}
