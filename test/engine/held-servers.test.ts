/**
 * No command of ours holds a server longer than 25 ms, however many keys, members, elements or
 * bytes come together. Large values have tests of their own: `large-holds.test.ts`,
 * `one-piece.test.ts`.
 */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { LARGE_VALUES } from '../../src/defaults.js';
import { type KeyRequest, type KeyResult, reconcileKeys } from '../../src/engine/index.js';
import { provideRedis82 } from '../../src/stack/programs/index.js';
import { compareRedis } from '../support/compare.js';
import { describeWith } from '../support/services.js';
import { longestHold } from './held.js';
import { DEFAULT_OPTIONS, startLink, type TestLink } from './link.js';

const MOST_MS = 25;

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

function reconcile(requests: readonly KeyRequest[]): Promise<KeyResult[]> {
  return reconcileKeys(link.sides, requests, DEFAULT_OPTIONS);
}

function keys(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `k${index}`);
}

/** The most elements that one call goes through as a whole. */
const ELEMENTS = Array.from({ length: LARGE_VALUES.elements - 1 }, (_, index) => `element:${index}`);

/** Puts a value that is another one with every `salt`. */
type Put = (client: Redis, key: string, salt: string) => Promise<unknown>;

async function putStream(client: Redis, key: string, salt: string): Promise<void> {
  const pipeline = client.pipeline();
  for (let n = 1; n < 500; n++) pipeline.xadd(key, `${n}-0`, 'field', `${n}`, 'salt', salt);
  await pipeline.exec();
}

const TOGETHER: [string, number, Put][] = [
  ['sets', 20, (client, key, salt) => client.sadd(key, salt, ...ELEMENTS)],
  ['hashes', 20, (client, key, salt) => client.hset(key, 'salt', salt, ...ELEMENTS.flatMap((each) => [each, each]))],
  [
    'sorted sets',
    20,
    (client, key, salt) => client.zadd(key, 1, salt, ...ELEMENTS.flatMap((each, n) => [n + 0.1, each])),
  ],
  ['lists', 50, (client, key, salt) => client.rpush(key, salt, ...ELEMENTS)],
  ['streams', 30, putStream],
  ['small hashes', 500, (client, key, salt) => client.hset(key, 'salt', salt, ...ELEMENTS.slice(0, 100))],
  ['strings of 100 KB', 300, (client, key, salt) => client.set(key, salt.padEnd(100_000, key))],
  ['hashes of 400 KB', 20, (client, key, salt) => client.hset(key, { salt, binary: randomBytes(400_000) })],
];

test.each(TOGETHER)('%s in one batch hold no server for long', async (_name, count, put) => {
  for (const key of keys(count)) await put(link.source.client, key, 'source');
  const requests = keys(count).map((key) => ({ key: Buffer.from(key) }));
  const longest = await longestHold([link.source, link.target], MOST_MS, async () => {
    await link.target.client.flushall();
    for (const key of keys(count)) await put(link.target.client, key, 'target');
    const results = await reconcile(requests);
    expect(results.filter(({ outcome }) => outcome !== 'repaired')).toEqual([]);
  });
  expect(longest.ms, longest.text).toBeLessThan(MOST_MS);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

/** Of the same type as those of that name. */
const SMALL: Readonly<Record<string, string[]>> = {
  sets: ['SADD', 'element'],
  hashes: ['HSET', 'field', 'value'],
  'sorted sets': ['ZADD', '1', 'element'],
  lists: ['RPUSH', 'element'],
  streams: ['XADD', '1-0', 'field', 'value'],
  'hashes of 400 KB': ['HSET', 'field', 'value'],
};

const REPLACED = TOGETHER.filter(([name]) => SMALL[name]);

test.each(REPLACED)('%s that a full target does not let go hold it not for long', async (name, count, put) => {
  const { source, target } = link;
  const [command, ...args] = SMALL[name] as [string, ...string[]];
  for (const key of keys(count)) {
    await source.client.call(command, key, ...args);
    await put(target.client, key, 'target');
  }
  await target.client.config('SET', 'maxmemory', '1000000');
  try {
    const requests = keys(count).map((key) => ({ key: Buffer.from(key) }));
    const longest = await longestHold([source, target], MOST_MS, async () => {
      const results = await reconcile(requests);
      expect(results.map((each) => each.outcome === 'failed' && each.error.type)).toEqual(
        keys(count).map(() => 'TargetOutOfMemory'),
      );
    });
    expect(longest.ms, longest.text).toBeLessThan(MOST_MS);
  } finally {
    await target.client.config('SET', 'maxmemory', '0');
  }
});

test('named members hold no server for long, however large they are', async () => {
  const names = Array.from({ length: 200 }, (_, index) => `field:${index}`);
  for (const name of names) await link.source.client.hset('k', name, randomBytes(150 * 1024));
  for (const name of names) await link.target.client.hset('k', name, 'old');
  const scope = { kind: 'members', members: names.map((name) => Buffer.from(name)) } as const;
  const longest = await longestHold([link.source, link.target], MOST_MS, async () => {
    for (const name of names) await link.target.client.hset('k', name, 'old');
    expect(await reconcile([{ key: Buffer.from('k'), scope }])).toMatchObject([
      { outcome: 'repaired', action: 'members', bytes: 200 * 150 * 1024 },
    ]);
  });
  expect(longest.ms, longest.text).toBeLessThan(MOST_MS);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

test('named members hold no server for long where large ones follow small ones', async () => {
  const fill = `for i = 1, 26 do redis.call('HSET', 'k', i, string.rep(ARGV[1], i > 10 and 1048576 or 5)) end`;
  const members = Array.from({ length: 26 }, (_, index) => Buffer.from(`${index + 1}`));
  await link.source.client.eval(fill, 0, 'v');
  const longest = await longestHold([link.source, link.target], MOST_MS, async () => {
    await link.target.client.eval(fill, 0, 'o');
    expect(await reconcile([{ key: Buffer.from('k'), scope: { kind: 'members', members } }])).toMatchObject([
      { outcome: 'repaired', action: 'members' },
    ]);
  });
  expect(longest.ms, longest.text).toBeLessThan(MOST_MS);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

test('members that come in parts lead to the whole key where the others differ', async () => {
  const names = Array.from({ length: 40 }, (_, index) => `field:${index}`);
  for (const name of names) await link.source.client.hset('k', name, 'x'.repeat(30_000));
  await link.source.client.hset('k', 'not named', '1');
  const scope = { kind: 'members', members: names.map((name) => Buffer.from(name)) } as const;
  await link.target.client.hset('k', 'field:39', 'old');
  expect(await reconcile([{ key: Buffer.from('k'), scope }])).toMatchObject([{ outcome: 'large' }]);
  for (const name of names) await link.source.client.hset('k', name, 'x'.repeat(10_000));
  expect(await reconcile([{ key: Buffer.from('k'), scope }])).toMatchObject([
    { outcome: 'repaired', action: 'restored' },
  ]);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

test('members of many keys hold no server for long', async () => {
  const values = Array.from({ length: 100 }, (_, index) => [`field:${index}`, 'v'.repeat(3_000)]).flat();
  const requests = keys(100).map((key) => ({
    key: Buffer.from(key),
    scope: { kind: 'members', members: values.filter((_, n) => n % 2 === 0).map((name) => Buffer.from(name)) } as const,
  }));
  for (const key of keys(100)) await link.source.client.hset(key, ...values);
  const longest = await longestHold([link.source, link.target], MOST_MS, async () => {
    for (const key of keys(100)) await link.target.client.hset(key, ...values.map((word) => word.slice(0, 100)));
    const results = await reconcile(requests);
    expect(results.filter(({ outcome }) => outcome !== 'repaired')).toEqual([]);
  });
  expect(longest.ms, longest.text).toBeLessThan(MOST_MS);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

test('a large key whose new expiry has passed is not freed while others wait', async () => {
  const { client } = link.target;
  const key = Buffer.from('k');
  const fill = `for i = 1, 500000 do redis.call('HSET', 'k', 'field:' .. i, i) end`;
  const longest = await longestHold([link.target], MOST_MS, async () => {
    await client.eval(fill, 0);
    const [observed] = await link.sides.target.inspectMembers([{ key, members: [] }]);
    if (observed instanceof Error) throw observed;
    const repair = { key, members: [], observed: observed!, type: 'hash', cells: [], expiry: 1_000_000_000_000 };
    expect(await link.sides.target.repairMembers([repair])).toEqual(['repaired']);
  });
  expect(longest.ms, longest.text).toBeLessThan(MOST_MS);
  expect(await client.exists('k')).toBe(0);
});

test.each([
  ['elements', LARGE_VALUES.elements + 1],
  ['bytes', LARGE_VALUES.bytes + 1],
])('a limit of %s above which the promise would not hold is refused at start, with its place', (name, limit) => {
  const link = `{ name: a, source: { url: redis://s }, target: { url: redis://t }, largeValues: { ${name}: ${limit} } }`;
  const parse = () => parseConfig(`links: [${link}]`, 'keymend.yaml', {});
  expect(parse).toThrow(new RegExp(`^keymend\\.yaml: .*links.*largeValues.${name}`));
  expect(parse).toThrow(/^[^\n]+$/);
});

await describeWith('to a target that can’t read the dump', provideRedis82, (binary) => {
  test('a hash of long fields at the limits holds no server for long', async () => {
    const older = await startLink([], [], { source: { binary } });
    try {
      const fields = (salt: string) =>
        ELEMENTS.slice(0, 4_000).flatMap((each) => [each.padEnd(40), salt.padEnd(150, each)]);
      await older.source.client.hset('k', ...fields('source'));
      const longest = await longestHold([older.source, older.target], MOST_MS, async () => {
        await older.target.client.hset('k', ...fields('target'));
        expect(await older.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'restored' });
      });
      expect(longest.ms, longest.text).toBeLessThan(MOST_MS);
      expect(await compareRedis(older.source.client, older.target.client)).toEqual([]);
    } finally {
      await older.stop();
    }
  });
});
