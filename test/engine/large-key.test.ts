/**
 * A key that is large on either side, whatever its types. The limits are set low, so that small
 * values count as large.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type KeyRequest, reconcileLargeKey } from '../../src/engine/index.js';
import { connectRedis, RedisFailure } from '../../src/redis/index.js';
import { compareRedis } from '../support/compare.js';
import { keysOf } from '../support/keys.js';
import type { RedisServer } from '../support/redis.js';
import {
  atLastLook,
  DEFAULT_OPTIONS,
  once,
  portWith,
  resetWrites,
  startLink,
  type TestLink,
  writesOn,
} from './link.js';
import { hookWatches } from './watched.js';

const LIMITS = { elements: 100, bytes: 20_000 };

let link: TestLink;
beforeAll(async () => {
  link = await startLink([], [], { largeValues: LIMITS });
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

const reconcileLarge = (request: Partial<KeyRequest> = {}) =>
  reconcileLargeKey(link.sides, { key: Buffer.from('k'), ...request }, { ...DEFAULT_OPTIONS, onProgress: () => {} });

const numbers = Array.from({ length: 500 }, (_, index) => `${index}`);

const LARGE: Record<string, (server: RedisServer) => Promise<unknown>> = {
  string: ({ client }) => client.set('k', 'x'.repeat(50_000)),
  list: ({ client }) => client.rpush('k', ...numbers),
  hash: ({ client }) => client.hset('k', ...numbers.flatMap((number) => [`f${number}`, number])),
  set: ({ client }) => client.sadd('k', ...numbers),
  zset: ({ client }) => client.zadd('k', ...numbers.flatMap((number) => [number, `m${number}`])),
  async stream({ client }) {
    for (const number of numbers) await client.xadd('k', `${Number(number) + 1}-1`, 'f', number);
  },
};
const SMALL: Record<string, (server: RedisServer) => Promise<unknown>> = {
  'a small string': ({ client }) => client.set('k', 'small'),
  'a small hash': ({ client }) => client.hset('k', 'f', 'small'),
  nothing: async () => {},
};

const everyPair = Object.keys(LARGE).flatMap((source) =>
  [...Object.keys(LARGE), ...Object.keys(SMALL)].map((target) => [source, target] as const),
);

test.each(everyPair)('a large %s takes the place of %s', async (source, target) => {
  await LARGE[source]!(link.source);
  await link.source.client.pexpire('k', 3_600_000);
  await (LARGE[target] ?? SMALL[target])!(link.target);
  expect(await reconcileLarge()).toMatchObject({ outcome: 'repaired' });
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  expect(await reconcileLarge()).toEqual({ outcome: 'equal' });
});

test.each(Object.keys(SMALL).flatMap((source) => Object.keys(LARGE).map((target) => [source, target] as const)))(
  '%s takes the place of a large %s',
  async (source, target) => {
    await SMALL[source]!(link.source);
    await LARGE[target]!(link.target);
    expect(await reconcileLarge()).toMatchObject({ outcome: 'repaired' });
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  },
);

test('a large key is not deleted for a source that has lost its data, unless a person vouches for it', async () => {
  await link.target.client.eval("for i=1,50 do redis.call('SET','other:'..i,i) end", 0);
  await LARGE.hash!(link.target);
  expect(await reconcileLarge()).toMatchObject({ outcome: 'failed', error: { type: 'SourceSuspicious' } });
  expect(await link.target.client.hlen('k')).toBe(500);
  expect(await reconcileLarge({ allowDelete: true })).toMatchObject({ outcome: 'repaired', action: 'deleted' });
});

test('nor is it, whoever vouches for it, when the source loses its data behind the first comparison', async () => {
  await link.target.client.eval("for i=1,50 do redis.call('SET','other:'..i,i) end", 0);
  await LARGE.hash!(link.target);
  await LARGE.string!(link.source);
  const lose = once(() => link.source.client.flushall());
  const source = hookWatches(link.sides.source, { 'before unchanged': lose }).port;
  const request = { key: Buffer.from('k'), allowDelete: true };
  const options = { ...DEFAULT_OPTIONS, onProgress: () => {} };
  const result = await reconcileLargeKey({ ...link.sides, source }, request, options);
  expect(result).toMatchObject({ outcome: 'failed', error: { type: 'SourceSuspicious' } });
  expect(await link.target.client.hlen('k')).toBe(500);
});

test('a source that has become a stale replica does not cost the target its key of another type', async () => {
  await LARGE.hash!(link.source);
  await LARGE.string!(link.target);
  await link.source.client.replicaof('127.0.0.1', 1);
  try {
    expect(await reconcileLarge()).toMatchObject({ outcome: 'failed', error: { type: 'SourceNotMaster' } });
    expect(await link.target.client.type('k')).toBe('string');
  } finally {
    await link.source.client.replicaof('NO', 'ONE');
  }
});

test.each([
  [
    'both sides get another value',
    () => Promise.all([link.source, link.target].map((side) => side.client.set('k', 'newest'))),
  ],
  [
    'the target gets its type',
    async () => {
      await link.target.client.del('k');
      await LARGE.hash!(link.target);
    },
  ],
])('what would have made way stays when, just before, %s', async (_what, write) => {
  await LARGE.hash!(link.source);
  await LARGE.string!(link.target);
  const live = async () => {
    await write();
    await resetWrites(link.target);
  };
  const { port } = hookWatches(link.sides.target, { 'before watch': once(live) });
  const options = { ...DEFAULT_OPTIONS, onProgress: () => {} };
  await reconcileLargeKey({ ...link.sides, target: port }, { key: Buffer.from('k') }, options);
  expect(await writesOn(link.target)).not.toHaveProperty('unlink');
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

describe('a target of another type than a source that', () => {
  const FIELDS = Array.from({ length: 4_000 }, (_, index) => `${index}`);

  /** That what the target has is still there, whenever one looks. */
  async function staysAs(type: string, before: number): Promise<void> {
    expect(await link.target.client.type('k')).toBe(type);
    expect(await link.target.client.llen('k')).toBe(before);
    expect(await keysOf(link.target.client)).toEqual(['k']);
  }

  test('dies while it is read keeps its value', async () => {
    await link.source.client.hset('k', ...FIELDS);
    await LARGE.list!(link.target);
    const before = await link.target.client.llen('k');
    const source = portWith(link.sides.source, {
      scanMembers: async (scan) =>
        scan.cursor === '0' ? link.sides.source.scanMembers(scan) : new RedisFailure('CONNECTION', 'gone'),
    });
    const result = await reconcileLargeKey(
      { ...link.sides, source },
      { key: Buffer.from('k') },
      { ...DEFAULT_OPTIONS, onProgress: () => {} },
    );
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'SourceUnavailable' } });
    await staysAs('list', before);
  });

  test('loses its data before the last look at it keeps its value', async () => {
    await link.target.client.eval("for i=1,50 do redis.call('SET','other:'..i,i) end", 0);
    await link.source.client.hset('k', ...FIELDS);
    await LARGE.list!(link.target);
    const source = atLastLook(link.sides.source, { before: () => link.source.client.flushall() });
    const options = { ...DEFAULT_OPTIONS, onProgress: () => {} };
    const result = await reconcileLargeKey({ ...link.sides, source }, { key: Buffer.from('k') }, options);
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'SourceSuspicious' } });
    expect(await link.target.client.type('k')).toBe('list');
  });

  test('does not fit into its memory keeps its value', async () => {
    await link.source.client.hset('k', ...FIELDS.map((field) => field.padEnd(1_000)));
    await LARGE.list!(link.target);
    const before = await link.target.client.llen('k');
    const used = /used_memory:(\d+)/.exec(await link.target.client.info('memory'))![1]!;
    await link.target.client.config('SET', 'maxmemory', `${Number(used) + 1_000_000}`);
    try {
      expect(await reconcileLarge()).toMatchObject({ outcome: 'failed', error: { type: 'TargetOutOfMemory' } });
      await staysAs('list', before);
    } finally {
      await link.target.client.config('SET', 'maxmemory', '0');
    }
    expect(await reconcileLarge()).toMatchObject({ outcome: 'repaired', action: 'restored' });
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });

  test('is small gets that in one step', async () => {
    await link.source.client.hset('k', 'f', 'v');
    await link.source.client.expire('k', 3600);
    await LARGE.list!(link.target);
    const { port } = hookWatches(link.sides.target, {
      'before write': once(async () => expect(await link.target.client.type('k')).toBe('list')),
      'after write': once(async () => expect(await link.target.client.hgetall('k')).toEqual({ f: 'v' })),
    });
    const options = { ...DEFAULT_OPTIONS, onProgress: () => {} };
    const result = await reconcileLargeKey({ ...link.sides, target: port }, { key: Buffer.from('k') }, options);
    expect(result).toMatchObject({ outcome: 'repaired' });
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });
});

test.each(['string', 'list'])(
  'a large %s on a source that is out of memory can be compared and copied',
  async (type) => {
    await LARGE[type]!(link.source);
    await link.source.client.config('SET', 'maxmemory', '1');
    try {
      expect(await reconcileLarge()).toMatchObject({ outcome: 'repaired' });
      expect(await reconcileLarge()).toEqual({ outcome: 'equal' });
    } finally {
      await link.source.client.config('SET', 'maxmemory', '0');
    }
  },
);

test('one that has become small, and that the budget has no room for once more, says what was written', async () => {
  await LARGE.string!(link.source);
  const budget = { link: 'east-to-west', opsPerSecond: 500 };
  const target = connectRedis({ url: link.target.url }, { name: 'target', largeValues: LIMITS, budget });
  try {
    const hooked = hookWatches(target, {
      'before write': once(() => link.source.client.set('k', 'small')),
      'after write': once(async () => {
        await link.target.client.set('k', 'outdated');
        await target.admit([{ key: Buffer.from('k'), members: 1_000 }]);
      }),
    });
    const sides = { ...link.sides, target: hooked.port };
    const options = { ...DEFAULT_OPTIONS, onProgress: () => {} };
    const result = await reconcileLargeKey(sides, { key: Buffer.from('k') }, options);
    expect(result).toMatchObject({ outcome: 'deferred', repaired: { action: 'restored', bytes: 50_000 } });
  } finally {
    await target.close();
  }
});

test('one that took the place of another type, and whose source then went, says that the target was written', async () => {
  await LARGE.hash!(link.source);
  await LARGE.string!(link.target);
  const { port } = hookWatches(link.sides.target, { 'after write': once(() => link.source.client.del('k')) });
  const options = { ...DEFAULT_OPTIONS, onProgress: () => {} };
  const result = await reconcileLargeKey({ ...link.sides, target: port }, { key: Buffer.from('k') }, options);
  expect(result).toMatchObject({ outcome: 'repaired', action: 'deleted', type: 'hash' });
});
