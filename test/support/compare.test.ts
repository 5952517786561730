/** The judge is judged: each kind of difference is found, and none where there is none. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { compareRedis } from './compare.js';
import { type RedisServer, startRedis } from './redis.js';

let a: RedisServer;
let b: RedisServer;
beforeAll(async () => {
  [a, b] = await Promise.all([startRedis(), startRedis()]);
});
afterAll(() => Promise.all([a?.stop(), b?.stop()]));
beforeEach(() => Promise.all([a.client.flushall(), b.client.flushall()]));

async function run(server: RedisServer, commands: string[]): Promise<void> {
  for (const line of commands) {
    const [name, ...args] = line.split(' ').map((word) => (word === "''" ? '' : word));
    await server.client.call(name!, args);
  }
}

const STREAM = [
  'XADD k 1-1 f v',
  'XADD k 2-1 f v',
  'XGROUP CREATE k g 0',
  'XREADGROUP GROUP g ann COUNT 1 STREAMS k >',
];

test.each<[string, string[], string[]]>([
  ['missing on a', [], ['SET k v']],
  ['missing on b', ["SET k ''"], []],
  ['type: string and list', ['SET k v'], ['RPUSH k v']],
  ['content of string', ['SET k v'], ['SET k w']],
  ['content of list', ['RPUSH k a b'], ['RPUSH k a']],
  ['content of list', ['RPUSH k a b'], ['RPUSH k b a']],
  ['content of hash', ['HSET k f v'], ['HSET k f w']],
  ['content of hash', ['HSET k ab c'], ['HSET k a bc']],
  ['content of set', ['SADD k a b'], ['SADD k a c']],
  ['content of zset', ['ZADD k 1 a'], ['ZADD k 1.0000000000000002 a']],
  ['content of stream', STREAM, STREAM.slice(0, 3)],
  ['content of stream', STREAM, STREAM.slice(0, 2)],
  ['content of stream', STREAM, [...STREAM, 'XACK k g 1-1']],
  ['content of stream', STREAM, [...STREAM, 'XCLAIM k g ann 0 1-1']],
  ['content of stream', STREAM, [...STREAM, 'XSETID k 9-9']],
  ['content of stream', STREAM, [...STREAM, 'XDEL k 2-1']],
  ['expiry', ['SET k v', 'EXPIRE k 100'], ['SET k v']],
  ['expiry', ['SET k v', 'EXPIRE k 100'], ['SET k v', 'EXPIRE k 200']],
])('%s', async (what, left, right) => {
  await run(a, left);
  await run(b, right);
  expect(await compareRedis(a.client, b.client)).toEqual([{ key: Buffer.from('k'), what }]);
});

test.each<[string, string[], string[]]>([
  ['two empty servers', [], []],
  ['another order of members', ['SADD k a b c'], ['SADD k c b a']],
  ['another order of fields', ['HSET k a 1 b 2'], ['HSET k b 2 a 1']],
  ['numbers written differently', ['ZADD k 0.1 a -0 b'], ['ZADD k 1e-1 a 0 b']],
  [
    "keymend's own keys",
    ['SET keymend:budget:l v', 'SET keymend:replacement:1:{k} v'],
    ['XADD keymend:outbox 1-1 f v'],
  ],
  ['the same expiry', ['SET k v', 'PEXPIREAT k 9999999999999'], ['SET k v', 'PEXPIREAT k 9999999999999']],
])('no difference: %s', async (_name, left, right) => {
  await run(a, left);
  await run(b, right);
  expect(await compareRedis(a.client, b.client)).toEqual([]);
});

test('a key that only resembles those of keymend counts', async () => {
  await run(a, ['SET keymend v', 'SET my:keymend:outbox v']);
  expect(await compareRedis(a.client, b.client)).toHaveLength(2);
});

test('every one of many keys is looked at, binary ones too', async () => {
  const keys = Array.from({ length: 5_000 }, (_, index) => Buffer.from([0xff, index & 0xff, index >> 8]));
  for (const { client } of [a, b]) await client.mset(...keys.flatMap((key) => [key, 'v']));
  await b.client.del(keys[1_234]!);
  await b.client.set(keys[4_321]!, 'w');
  const found = await compareRedis(a.client, b.client);
  expect(found).toHaveLength(2);
  expect(found).toContainEqual({ key: keys[1_234], what: 'missing on b' });
  expect(found).toContainEqual({ key: keys[4_321], what: 'content of string' });
});
