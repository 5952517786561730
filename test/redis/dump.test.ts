/** DUMPs of real servers, compared without one. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareDumps, typeOfDump } from '../../src/redis/dump.js';
import { type RedisServer, startRedis } from '../support/redis.js';

let usual: RedisServer;
let tables: RedisServer;
beforeAll(async () => {
  usual = await startRedis();
  // Nothing in one piece of memory, nothing compressed, lists in nodes of two elements.
  tables = await startRedis([
    ...['--hash-max-listpack-entries', '0', '--set-max-intset-entries', '0', '--rdbcompression', 'no'],
    ...['--list-max-listpack-size', '2'],
  ]);
});
afterAll(() => Promise.all([usual, tables].map((server) => server?.stop())));

type Build = [command: string, ...elements: string[]];

async function dump({ client }: RedisServer, [command, ...elements]: Build): Promise<Buffer> {
  await client.del('k');
  await client.call(command, 'k', ...elements);
  return (await client.dumpBuffer('k'))!;
}

const LENGTHS = [0, 1, 11, 12, 20, 21, 63, 64, 127, 128, 300, 4_095, 4_096, 20_000];
const texts = [
  ...LENGTHS.map((length) => 'abcdefghijklmnop'.repeat(1_250).slice(0, length)),
  ...LENGTHS.slice(3).map((length) =>
    Array.from({ length }, (_, i) => String.fromCharCode(33 + ((i * i * 7) % 90))).join(''),
  ),
];
const integers = [7, 12, 13, 15, 16, 23, 24, 31, 32, 53, 62].flatMap((bits) =>
  [-1n, 0n, 1n].flatMap((more) => [2n ** BigInt(bits) + more, -(2n ** BigInt(bits)) + more].map(String)),
);
const elements = [...new Set([...texts, ...integers, '0', '-0', '00', '1.5', '-1', '18446744073709551616'])];

const fields = (all: readonly string[]) => all.flatMap((element, index) => [`f${index}`, element]);
const asHash = (all: readonly string[]) => all.flatMap((element, index) => [element, `${index}`]);

const SAMPLES: Record<string, Build> = {
  list: ['RPUSH', ...elements],
  set: ['SADD', ...elements],
  'set of integers': ['SADD', ...integers],
  'set of small integers': ['SADD', '1', '2', '300'],
  'hash with any values': ['HSET', ...fields(elements)],
  'hash with any fields': ['HSET', ...asHash(elements)],
  'small hash': ['HSET', ...fields(elements.filter(({ length }) => length < 60))],
};

const reordered = ([command, ...all]: Build): Build => {
  if (command === 'RPUSH') return [command, ...all];
  const width = command === 'HSET' ? 2 : 1;
  const groups = Array.from({ length: all.length / width }, (_, i) => all.slice(i * width, (i + 1) * width));
  return [command, ...groups.toReversed().flat()];
};

test.each(Object.entries(SAMPLES))('a %s is equal in any encoding and order', async (_, build) => {
  const all = [await dump(usual, build), await dump(tables, build), await dump(usual, reordered(build))];
  for (const one of all) for (const other of all) expect(compareDumps(one, other)).toBe('equal');
});

test.each(Object.entries(SAMPLES))('a %s is different with any one part changed', async (_, build) => {
  const one = await dump(usual, build);
  const [command, ...all] = build;
  for (let changed = 0; changed < all.length; changed += 1 + Math.floor(all.length / 60)) {
    const other = all.map((element, index) => (index === changed ? `${element}1` : element));
    const servers = changed % 2 === 0 ? [usual] : [tables];
    for (const server of servers) expect(compareDumps(one, await dump(server, [command, ...other]))).toBe('different');
  }
});

test('strings', async () => {
  const dumps = await Promise.all(
    elements.map(async (text, index) => {
      const key = `s${index}`;
      for (const { client } of [usual, tables]) await client.set(key, text);
      return Promise.all([usual, tables].map(({ client }) => client.dumpBuffer(key)));
    }),
  );
  for (const [index, [one]] of dumps.entries()) {
    for (const [at, [, other]] of dumps.entries()) {
      expect(compareDumps(one!, other!)).toBe(index === at ? 'equal' : 'different');
    }
  }
});

test('what stands joined or in another order is different', async () => {
  const pairs: [Build, Build][] = [
    [
      ['SADD', 'ab', 'c'],
      ['SADD', 'a', 'bc'],
    ],
    [
      ['HSET', 'a', 'bc', 'd', 'e'],
      ['HSET', 'ab', 'c', 'd', 'e'],
    ],
    [
      ['HSET', 'a', 'b', 'c', 'd'],
      ['HSET', 'a', 'd', 'c', 'b'],
    ],
    [
      ['RPUSH', 'a', 'b'],
      ['RPUSH', 'b', 'a'],
    ],
    [
      ['RPUSH', 'a', 'b'],
      ['SADD', 'a', 'b'],
    ],
    [
      ['SET', '1'],
      ['RPUSH', '1'],
    ],
  ];
  for (const [one, other] of pairs) {
    for (const server of [usual, tables]) {
      expect(compareDumps(await dump(usual, one), await dump(server, other))).toBe('different');
    }
  }
});

test('of a sorted set and a stream it knows the type alone', async () => {
  const [zset, stream] = [await dump(usual, ['ZADD', '1', 'a']), await dump(usual, ['XADD', '1-1', 'a', 'b'])];
  expect([zset, stream].map(typeOfDump)).toEqual(['zset', 'stream']);
  expect(compareDumps(zset, await dump(usual, ['ZADD', '2', 'a']))).toBe('unknown');
  expect(compareDumps(stream, zset)).toBe('unknown');
});
