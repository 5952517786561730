/** Servers that refuse in scripts what managed services refuse there. */
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { connectRedis } from '../../src/redis/index.js';
import { compareRedis } from '../support/compare.js';
import { startLink, type TestLink } from './link.js';

const LIMITS = { elements: 100, bytes: 20_000 };

let link: TestLink;
beforeAll(async () => {
  link = await startLink([], [], { largeValues: LIMITS });
  for (const { client } of [link.source, link.target]) {
    await client.call('ACL', 'SETUSER', 'default', '-memory|usage');
    await expect(client.memory('USAGE', 'k')).rejects.toThrow('NOPERM');
  }
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

const VALUES: [string, (text: string) => (string | number)[]][] = [
  ['list', (text) => ['RPUSH', 'k', 'a', text]],
  ['set', (text) => ['SADD', 'k', 'a', text]],
  ['hash', (text) => ['HSET', 'k', 'a', '1', 'b', text]],
  ['zset', (text) => ['ZADD', 'k', 1, 'a', 2, text]],
  ['stream', (text) => ['XADD', 'k', '*', 'a', text]],
];

test.each(VALUES)('without MEMORY USAGE a %s is repaired', async (_type, command) => {
  const [name, ...args] = command('value'.repeat(1_500)) as [string, ...string[]];
  await link.source.client.call(name, ...args);
  expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired' });
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

test.each(VALUES)('without MEMORY USAGE a %s of many bytes is large all the same', async (_type, command) => {
  const [name, ...args] = command('x'.repeat(60_000)) as [string, ...string[]];
  await link.source.client.call(name, ...args);
  expect(await link.reconcile('k')).toEqual({ outcome: 'large' });
});

test.each([
  ['list', "redis.call('RPUSH', 'k', text)"],
  ['zset', "redis.call('ZADD', 'k', i, i .. text)"],
  ['stream', "redis.call('XADD', 'k', i, 'f', text)"],
])('without MEMORY USAGE so is a %s whose first elements are small', async (_type, add) => {
  const fill = `for i = 1, 90 do local text = i > 25 and string.rep('x', 2000) or 'a' ${add} end`;
  await link.source.client.eval(fill, 0);
  expect(await link.reconcile('k')).toEqual({ outcome: 'large' });
});

test('without MEMORY USAGE so is one of many elements', async () => {
  await link.source.client.sadd('k', ...Array.from({ length: 101 }, (_, n) => n));
  expect(await link.reconcile('k')).toEqual({ outcome: 'large' });
});

test('without MEMORY USAGE one of many sorted elements is looked at in two places', async () => {
  const members = Array.from({ length: 101 }, (_, score) => [score, `${score}`]).flat();
  await link.source.client.zadd('k', ...(members as string[]));
  await link.source.client.config('RESETSTAT');
  expect(await link.reconcile('k')).toEqual({ outcome: 'large' });
  expect(await link.source.client.info('commandstats')).toMatch(/cmdstat_zrange:calls=2,/);
});

test('MEMORY USAGE is asked for once in a call that is refused it, however many keys it is for', async () => {
  const keys = Array.from({ length: 50 }, (_, n) => Buffer.from(`k${n}`));
  for (const [n, key] of keys.entries()) {
    if (n % 2 === 0) await link.source.client.set(key, 'v');
    else await link.source.client.rpush(key, 'v');
  }
  const port = connectRedis({ url: link.source.url }, { name: 'source' });
  onTestFinished(() => port.close());
  await link.source.client.call('ACL', 'LOG', 'RESET');
  await port.inspect(keys);
  const [refused, ...others] = (await link.source.client.call('ACL', 'LOG')) as (string | number)[][];
  expect(others).toEqual([]);
  expect(refused!.slice(0, 2)).toEqual(['count', 1]);
});

test('without MEMORY USAGE the digest of a key does not depend on which of its elements are looked at', async () => {
  // Its bytes are estimated now below and now above the limit from which on elements are counted.
  await link.source.client.hset('k', 'big', 'x'.repeat(400));
  for (let n = 0; n < 9; n++) await link.source.client.hset('k', `${n}`, 'v');
  const port = connectRedis({ url: link.source.url }, { name: 'source' });
  onTestFinished(() => port.close());
  const digests = new Set<string>();
  for (let look = 0; look < 100; look++) {
    const [state] = await port.inspect([Buffer.from('k')]);
    digests.add((state as { digest: string }).digest);
  }
  expect(digests.size).toBe(1);
});
