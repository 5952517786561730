/** All kinds of writes, to few keys of each type. */

const random = (below) => Math.floor(Math.random() * below);

/**
 * One write of a random kind, for a DualWriter.
 * @param keys how many keys of each type there are
 * @returns which keys it writes, and what sends it
 */
export function randomWrite(redis, keys) {
  const name = (type) => `${type}:${random(keys)}`;
  const to = (types, send) => {
    const names = types.map(name);
    return { keys: names, send: () => send(...names) };
  };
  const writes = [
    () => to(['string'], (key) => redis.set(key, `${random(1e9)}`)),
    () => to(['counter'], (key) => redis.incr(key)),
    () => to(['hash'], (key) => redis.hset(key, `f${random(5)}`, `${random(1e9)}`)),
    () => to(['set'], (key) => redis.sadd(key, `${random(50)}`)),
    () => to(['set'], (key) => redis.spop(key)),
    () => to(['list'], (key) => redis.lpush(key, `${random(1e9)}`)),
    () => to(['list'], (key) => redis.rpop(key)),
    () => to(['string'], (key) => redis.del(key)),
    () => to(['string'], (key) => redis.expire(key, 1000 + random(1000))),
    () => to(['zset', 'counter'], (z, n) => redis.multi().zincrby(z, 1, 'm').incrby(n, 5).exec()),
    () => to(['string', 'list'], (s, l) => redis.pipeline().append(s, 'x').rpush(l, 'y').exec()),
    () => to(['hash'], (key) => redis.hdel(key, `f${random(5)}`)),
    () => to(['hash'], (key) => redis.hincrby(key, 'n', 1)),
    () => to(['string', 'string'], (a, b) => redis.mset(a, `${random(1e9)}`, b, `${random(1e9)}`)),
    () => to(['stream'], (key) => redis.xadd(key, '*', 'f', `${random(1e9)}`)),
    () => to(['zset'], (key) => redis.zadd(key, random(100), `m${random(5)}`)),
    () => to(['list', 'list'], (a, b) => redis.lmove(a, b, 'LEFT', 'RIGHT')),
  ];
  return writes[random(writes.length)]();
}
