import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { compareRedis } from '../support/compare.js';
import { keysOf } from '../support/keys.js';
import { resetWrites, startLink, type TestLink, writesOn } from './link.js';

type Command = [string, ...(string | Buffer | number)[]];

/** Per type: how to build a key, and how each kind of damage differs from it. */
const BINARY = Buffer.from([0, 255, 128, 13, 10, 0, 195, 40]);
const CASES: Record<string, { build: Command[]; damage: Record<string, Command[]> }> = {
  string: {
    build: [['SET', 'k', BINARY]],
    damage: {
      'another value': [['SET', 'k', 'x']],
      'a longer value': [['APPEND', 'k', 'x']],
      'an empty value': [['SET', 'k', '']],
    },
  },
  hash: {
    build: [['HSET', 'k', 'a', '1', BINARY, BINARY, '', 'empty field', 'empty value', '']],
    damage: {
      'a missing field': [['HDEL', 'k', 'a']],
      'an extra field': [['HSET', 'k', 'z', '']],
      'a changed value': [['HSET', 'k', 'a', '2']],
      'swapped values': [['HSET', 'k', '', '', 'empty value', 'empty field']],
    },
  },
  list: {
    build: [['RPUSH', 'k', 'a', BINARY, '', 'a', 'b']],
    damage: {
      'a list that is a prefix': [['RPOP', 'k']],
      'a list it is a prefix of': [['RPUSH', 'k', 'b']],
      'one duplicate more': [['LPUSH', 'k', 'a']],
      'another order': [['RPOPLPUSH', 'k', 'k']],
      'elements joined': [
        ['DEL', 'k'],
        ['RPUSH', 'k', 'a', BINARY, '', 'ab'],
      ],
      'a changed element': [['LSET', 'k', '1', 'x']],
    },
  },
  set: {
    build: [['SADD', 'k', 'a', BINARY, '', '7']],
    damage: {
      'a missing member': [['SREM', 'k', 'a']],
      'an extra member': [['SADD', 'k', 'x']],
      'another member': [
        ['SREM', 'k', ''],
        ['SADD', 'k', 'x'],
      ],
    },
  },
  zset: {
    build: [['ZADD', 'k', '1', 'a', '0.1', BINARY, '-inf', '', '1e300', 'b', '3', 'c']],
    damage: {
      'a missing member': [['ZREM', 'k', 'a']],
      'an extra member': [['ZADD', 'k', '1', 'x']],
      'another score': [['ZADD', 'k', '0.10000000000000002', BINARY]],
    },
  },
  stream: {
    build: [
      ['XADD', 'k', '1-1', 'f', 'v', 'g', BINARY],
      ['XADD', 'k', '2-1', '', ''],
      ['XADD', 'k', '3-1', 'f', 'v'],
      ['XGROUP', 'CREATE', 'k', 'group', '0'],
      ['XGROUP', 'CREATE', 'k', BINARY, '2-1'],
      ['XREADGROUP', 'GROUP', 'group', 'ann', 'COUNT', '1', 'STREAMS', 'k', '>'],
      ['XREADGROUP', 'GROUP', 'group', 'bob', 'COUNT', '1', 'STREAMS', 'k', '>'],
    ],
    damage: {
      'a missing entry': [['XDEL', 'k', '2-1']],
      'an extra entry': [['XADD', 'k', '9-1', 'f', 'v']],
      'another last id': [['XSETID', 'k', '9-9']],
      'a missing group': [['XGROUP', 'DESTROY', 'k', 'group']],
      'an extra group': [['XGROUP', 'CREATE', 'k', 'other', '0']],
      'a group elsewhere': [['XGROUP', 'SETID', 'k', 'group', '3-1']],
      'an entry acknowledged': [['XACK', 'k', 'group', '1-1']],
      'an entry delivered to another consumer': [['XCLAIM', 'k', 'group', 'bob', '0', '1-1', 'JUSTID']],
      'an entry delivered once more': [['XCLAIM', 'k', 'group', 'ann', '0', '1-1']],
      'a consumer without entries': [['XGROUP', 'CREATECONSUMER', 'k', 'group', 'cid']],
      'a field in another entry': [
        ['DEL', 'k'],
        ['XADD', 'k', '1-1', 'f', 'v'],
        ['XADD', 'k', '2-1', 'g', BINARY, '', ''],
        ['XADD', 'k', '3-1', 'f', 'v'],
      ],
    },
  },
};

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

async function run(side: 'source' | 'target', commands: Command[]): Promise<void> {
  for (const [name, ...args] of commands) await link[side].client.callBuffer(name, args);
}

async function build(type: string, ...sides: ('source' | 'target')[]): Promise<void> {
  for (const side of sides) await run(side, CASES[type]!.build);
}

async function expectEqualSides(): Promise<void> {
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
}

describe.each(Object.keys(CASES))('a %s', (type) => {
  test('missing on the target is restored', async () => {
    await build(type, 'source');
    expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'restored', type });
    await expectEqualSides();
  });

  test('missing on the source is deleted on the target', async () => {
    await build(type, 'target');
    expect(await link.reconcile('k')).toEqual({ outcome: 'repaired', action: 'deleted', type, bytes: 0 });
    expect(await link.target.client.exists('k')).toBe(0);
  });

  test('equal on both sides is left alone', async () => {
    await build(type, 'source', 'target');
    await resetWrites(link.target);
    expect(await link.reconcile('k')).toEqual({ outcome: 'equal' });
    expect(await writesOn(link.target)).toEqual({});
  });

  test.each(Object.keys(CASES[type]!.damage))('with %s on the target is restored', async (damage) => {
    await build(type, 'source', 'target');
    await run('target', CASES[type]!.damage[damage]!);
    expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'restored', type });
    await expectEqualSides();
  });

  test('of which only the expiry differs gets the expiry and keeps its value', async () => {
    await build(type, 'source', 'target');
    await link.source.client.pexpireat('k', Date.now() + 3_600_000);
    await resetWrites(link.target);
    expect(await link.reconcile('k')).toEqual({ outcome: 'repaired', action: 'expiry', type, bytes: 0 });
    expect(await writesOn(link.target)).toEqual({ pexpireat: 1 });
    await expectEqualSides();
  });

  test.each(Object.keys(CASES).filter((other) => other !== type))('replaces a %s under the same key', async (other) => {
    await build(type, 'source');
    await build(other, 'target');
    expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'restored', type });
    await expectEqualSides();
  });
});

describe('a key with equal content and another DUMP is equal and not rewritten', () => {
  const LETTERS = 'abcdefghijklmnopqrstuvwxyz'.split('');
  const numbers = (count: number) => Array.from({ length: count }, (_, index) => `${index}`);
  const doubled = (items: string[]) => items.flatMap((item) => [item, item]);
  const reversedPairs = (items: string[]) => items.toReversed().flatMap((item) => [item, item]);

  test.each<[string, Command[], Command[]]>([
    ['a small hash, fields in another order', [['HSET', 'k', 'a', '1', 'b', '2']], [['HSET', 'k', 'b', '2', 'a', '1']]],
    ['a large hash', [['HSET', 'k', ...doubled(numbers(2000))]], [['HSET', 'k', ...reversedPairs(numbers(2000))]]],
    ['a small set', [['SADD', 'k', ...LETTERS]], [['SADD', 'k', ...LETTERS.toReversed()]]],
    ['a large set', [['SADD', 'k', ...numbers(3000), 'x']], [['SADD', 'k', 'x', ...numbers(3000).reverse()]]],
    [
      'a set that once held a word',
      [['SADD', 'k', '1', '2']],
      [
        ['SADD', 'k', '1', '2', 'x'],
        ['SREM', 'k', 'x'],
      ],
    ],
    [
      'a sorted set that was large',
      [['ZADD', 'k', '1', 'a', '2.5', 'b']],
      [
        ['ZADD', 'k', '1', 'a', '2.5', 'b', '3', 'x'.repeat(100)],
        ['ZREM', 'k', 'x'.repeat(100)],
      ],
    ],
    ['a list in other nodes', [['RPUSH', 'k', ...numbers(5000)]], [['LPUSH', 'k', ...numbers(5000).reverse()]]],
    [
      'a stream with a deleted entry',
      [
        ['XADD', 'k', '1-1', 'a', 'b'],
        ['XADD', 'k', '3-1', 'a', 'b'],
      ],
      [
        ['XADD', 'k', '1-1', 'a', 'b'],
        ['XADD', 'k', '2-1', 'x', 'y'],
        ['XADD', 'k', '3-1', 'a', 'b'],
        ['XDEL', 'k', '2-1'],
      ],
    ],
    [
      'a stream whose entries were delivered at another time',
      CASES.stream!.build,
      [
        ...CASES.stream!.build,
        ['XCLAIM', 'k', 'group', 'ann', '0', '1-1', 'JUSTID', 'IDLE', '99999', 'RETRYCOUNT', '1'],
      ],
    ],
  ])('%s', async (_name, source, target) => {
    await run('source', source);
    await run('target', target);
    const dumps = await Promise.all([link.source.client.dumpBuffer('k'), link.target.client.dumpBuffer('k')]);
    expect(dumps[0]!.equals(dumps[1]!)).toBe(false);
    await expectEqualSides();
    await resetWrites(link.target);
    expect(await link.reconcile('k')).toEqual({ outcome: 'equal' });
    expect(await writesOn(link.target)).toEqual({});
  });

  test('a different expiry is still repaired, without touching the value', async () => {
    await run('source', [
      ['HSET', 'k', 'a', '1', 'b', '2'],
      ['PEXPIREAT', 'k', Date.now() + 60_000],
    ]);
    await run('target', [['HSET', 'k', 'b', '2', 'a', '1']]);
    await resetWrites(link.target);
    expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'expiry' });
    expect(await writesOn(link.target)).toEqual({ pexpireat: 1 });
    await expectEqualSides();
  });
});

describe('content that only looks alike', () => {
  test.each<[string, Command, Command]>([
    ['fields and values that join to the same text', ['HSET', 'k', 'ab', 'c'], ['HSET', 'k', 'a', 'bc']],
    ['members that join to the same text', ['SADD', 'k', 'ab', 'c'], ['SADD', 'k', 'a', 'bc']],
    ['elements that join to the same text', ['RPUSH', 'k', 'ab', 'c'], ['RPUSH', 'k', 'a', 'bc']],
    ['members that look framed', ['RPUSH', 'k', '1:a1:b'], ['RPUSH', 'k', 'a', 'b']],
    ['a score beside a member ending in digits', ['ZADD', 'k', '1', 'm1'], ['ZADD', 'k', '11', 'm']],
    ['scores close to each other', ['ZADD', 'k', '0.1', 'm'], ['ZADD', 'k', '0.1000000000000001', 'm']],
    ['one empty element and none', ['RPUSH', 'k', 'a', ''], ['RPUSH', 'k', 'a']],
    [
      'fields of an entry in another order',
      ['XADD', 'k', '1-1', 'a', '1', 'b', '2'],
      ['XADD', 'k', '1-1', 'b', '2', 'a', '1'],
    ],
  ])('%s is a difference', async (_name, source, target) => {
    await run('source', [source]);
    await run('target', [target]);
    expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'restored' });
    await expectEqualSides();
  });

  test('an empty string is not a missing key, in both directions', async () => {
    await link.source.client.set('k', '');
    expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'restored' });
    expect(await link.target.client.get('k')).toBe('');
    await link.source.client.del('k');
    expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'deleted' });
    expect(await link.target.client.get('k')).toBeNull();
  });
});

test('absent on both sides is equal', async () => {
  expect(await link.reconcile('nothing')).toEqual({ outcome: 'equal' });
});

test.each([
  ['empty', Buffer.alloc(0)],
  ['binary', BINARY],
  ['not UTF-8', Buffer.from([0xff, 0xfe])],
  ['with line breaks', Buffer.from('a\r\n$3\r\nb')],
])('a key (%s) is one key, byte for byte', async (_name, key) => {
  await link.source.client.hset(key, { f: BINARY });
  await link.target.client.set(key, 'x');
  expect(await link.reconcile(key)).toMatchObject({ outcome: 'repaired', action: 'restored', type: 'hash' });
  await expectEqualSides();
  expect(await keysOf(link.target.client)).toHaveLength(1);
  await link.source.client.del(key);
  expect(await link.reconcile(key)).toMatchObject({ outcome: 'repaired', action: 'deleted' });
  expect(await keysOf(link.target.client)).toHaveLength(0);
});
