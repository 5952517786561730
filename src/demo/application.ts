/**
 * An application as keymend's users have it: it writes to both Redis and knows nothing of repairs.
 */
import type { DualWriter } from '../dual-write/dual-writer.js';

/** Every key of the demo starts with this. */
export const KEY_PREFIX = 'demo:';

/** One write, with some randomness from `random` (0 ≤ r < 1). */
type Operation = (redis: DualWriter, key: string, random: () => number) => Promise<unknown>;

const pick = (random: () => number, count: number) => Math.floor(random() * count);

/** By type, because a key keeps its type until it is deleted. */
const OPERATIONS: Record<string, readonly Operation[]> = {
  string: [
    (redis, key, random) => redis.set(key, `v${pick(random, 1e9)}`),
    (redis, key, random) => redis.append(key, `+${pick(random, 100)}`),
    (redis, key) => redis.set(key, Buffer.from([0, 255, 128, 10])),
  ],
  counter: [(redis, key) => redis.incr(key), (redis, key, random) => redis.decrby(key, pick(random, 9))],
  hash: [
    (redis, key, random) => redis.hset(key, `f${pick(random, 20)}`, `v${pick(random, 1e6)}`),
    (redis, key, random) => redis.hdel(key, `f${pick(random, 20)}`),
    (redis, key, random) => redis.hincrby(key, 'count', pick(random, 5)),
  ],
  list: [
    (redis, key, random) => redis.rpush(key, `e${pick(random, 1e6)}`),
    (redis, key, random) => redis.lpush(key, `e${pick(random, 1e6)}`),
    (redis, key) => redis.lpop(key),
  ],
  set: [
    (redis, key, random) => redis.sadd(key, `m${pick(random, 50)}`, `m${pick(random, 50)}`),
    (redis, key, random) => redis.srem(key, `m${pick(random, 50)}`),
  ],
  zset: [
    (redis, key, random) => redis.zadd(key, random() * 100, `m${pick(random, 30)}`),
    (redis, key, random) => redis.zincrby(key, 1.5, `m${pick(random, 30)}`),
    (redis, key, random) => redis.zrem(key, `m${pick(random, 30)}`),
  ],
  stream: [(redis, key, random) => redis.xadd(key, '*', 'temperature', `${pick(random, 40)}`)],
};
const ANY_TYPE: readonly Operation[] = [
  (redis, key) => redis.del(key),
  (redis, key, random) => redis.expire(key, 3600 + pick(random, 3600)),
  (redis, key) => redis.persist(key),
];
const TYPES = Object.keys(OPERATIONS);

/**
 * Writes once: a random operation on a random key.
 * @param keys how many keys there are of each type
 */
export async function writeOnce(redis: DualWriter, keys: number, random: () => number): Promise<void> {
  const type = TYPES[pick(random, TYPES.length)]!;
  const operations = random() < 0.1 ? ANY_TYPE : OPERATIONS[type]!;
  await operations[pick(random, operations.length)]!(redis, `${KEY_PREFIX}${type}:${pick(random, keys)}`, random);
}
