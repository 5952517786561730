/**
 * What large strings, lists and streams look like in tests: how they are filled, and how the two
 * sides come to differ.
 */
import type { Redis } from 'ioredis';

export interface Divergence {
  readonly name: string;
  /** Of both sides. */
  readonly fill: (redis: Redis) => Promise<unknown>;
  /** Of one side; the other stays as it was filled. */
  readonly source?: (redis: Redis) => Promise<unknown>;
  readonly target?: (redis: Redis) => Promise<unknown>;
}

export const STRING_BYTES = 1_000_000;
export const ELEMENTS = 4_500;
export const ENTRIES = 1_100;

/** Every piece is another, and binary. */
export function stringOf(bytes: number): Buffer {
  const value = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) value.writeUInt32LE(Math.imul(at, 2_654_435_761) >>> 0, at);
  return value;
}

export async function fillList(redis: Redis, count = ELEMENTS, bytes = 0): Promise<void> {
  for (let start = 0; start < count; start += 1_000) {
    const elements = Array.from({ length: Math.min(1_000, count - start) }, (_, i) => `element ${start + i}`);
    await redis.rpush('k', ...elements.map((element) => element.padEnd(bytes)));
  }
}

export async function fillStream(redis: Redis, count = ENTRIES): Promise<void> {
  for (let start = 0; start < count; start += 1_000) {
    const pipeline = redis.pipeline();
    for (let i = start; i < Math.min(start + 1_000, count); i++)
      pipeline.xadd('k', `${i + 10}-1`, 'n', `${i}`, 'f', '');
    await pipeline.exec();
  }
}

async function fillWithGroups(redis: Redis): Promise<void> {
  await fillStream(redis);
  await redis.xgroup('CREATE', 'k', 'readers', '0');
  await redis.call('XGROUP', 'CREATECONSUMER', 'k', 'readers', 'idle');
  for (const consumer of ['ann', 'bob']) await read(redis, consumer, 300);
  await redis.xgroup('CREATE', 'k', 'none pending', '20-1');
}

function read(redis: Redis, consumer: string, count: number): Promise<unknown> {
  return redis.xreadgroup('GROUP', 'readers', consumer, 'COUNT', count, 'STREAMS', 'k', '>');
}

const fillString = (redis: Redis) => redis.set('k', stringOf(STRING_BYTES));
const EXPIRY = Date.now() + 3_600_000;

/** Where the values differ. */
export const STRINGS: readonly Divergence[] = [
  { name: 'string: one byte', fill: fillString, target: (redis) => redis.setrange('k', 600_000, 'x') },
  { name: 'string: the last byte', fill: fillString, target: (redis) => redis.setrange('k', STRING_BYTES - 1, 'x') },
  { name: 'string: shorter', fill: fillString, target: (redis) => redis.set('k', stringOf(700_001)) },
  { name: 'string: longer', fill: fillString, target: (redis) => redis.append('k', 'tail') },
  { name: 'string: empty on the target', fill: fillString, target: (redis) => redis.set('k', '') },
  { name: 'string: empty on the source', fill: fillString, source: (redis) => redis.set('k', '') },
  { name: 'string: everything', fill: fillString, target: (redis) => redis.set('k', Buffer.alloc(STRING_BYTES)) },
];

export const LISTS: readonly Divergence[] = [
  { name: 'list: one element', fill: fillList, target: (redis) => redis.lset('k', 2_345, 'other') },
  { name: 'list: the last element', fill: fillList, target: (redis) => redis.lset('k', -1, 'other') },
  { name: 'list: two elements swapped', fill: fillList, target: swapElements },
  { name: 'list: a lost LPUSH', fill: fillList, source: (redis) => redis.lpush('k', 'a', 'b', 'c') },
  { name: 'list: a lost RPUSH', fill: fillList, source: (redis) => redis.rpush('k', 'a', 'b', 'c') },
  { name: 'list: a lost LPOP', fill: fillList, source: (redis) => redis.lpop('k') },
  { name: 'list: a lost RPOP', fill: fillList, source: (redis) => redis.rpop('k') },
  { name: 'list: a lost LREM', fill: fillList, source: (redis) => redis.lrem('k', 1, 'element 2000') },
  { name: 'list: a lost LINSERT', fill: fillList, source: (redis) => redis.linsert('k', 'BEFORE', 'element 2000', '') },
  { name: 'list: a prefix', fill: fillList, target: (redis) => redis.ltrim('k', 0, 1_999) },
  { name: 'list: a suffix', fill: fillList, target: (redis) => redis.ltrim('k', 3_333, -1) },
  { name: 'list: a move to the other end', fill: fillList, source: (redis) => redis.rpoplpush('k', 'k') },
  {
    name: 'list: binary and empty elements',
    fill: fillList,
    source: (redis) => redis.rpush('k', Buffer.from([0, 255, 128]), '', Buffer.from('3:abc\r\n')),
  },
  {
    name: 'list: large elements',
    fill: (redis) => fillList(redis, 200, 10_000),
    target: (redis) => redis.lset('k', 150, 'other'),
  },
  {
    name: 'list: one element that is larger than a range',
    fill: fillList,
    source: (redis) => redis.lset('k', 1_234, stringOf(2_000_000)),
  },
  {
    name: 'list: elements that are larger than a range, on both sides',
    fill: async (redis) => {
      for (let i = 0; i < 5; i++) await redis.rpush('k', stringOf(600_000 + i), 'between');
    },
    target: (redis) => redis.lpush('k', 'first'),
  },
];

async function swapElements(redis: Redis): Promise<void> {
  await redis.lset('k', 100, 'element 101');
  await redis.lset('k', 101, 'element 100');
}

export const STREAMS: readonly Divergence[] = [
  { name: 'stream: a lost XADD', fill: fillWithGroups, source: (redis) => redis.xadd('k', '9999-0', 'f', 'v') },
  { name: 'stream: a lost XDEL', fill: fillWithGroups, source: (redis) => redis.xdel('k', '700-1') },
  { name: 'stream: an entry that the target lacks', fill: fillWithGroups, target: (redis) => redis.xdel('k', '700-1') },
  { name: 'stream: a lost XTRIM', fill: fillStream, source: (redis) => redis.xtrim('k', 'MAXLEN', 500) },
  { name: 'stream: another value', fill: fillStream, target: otherEntry },
  { name: 'stream: the last ID', fill: fillWithGroups, source: (redis) => redis.call('XSETID', 'k', '99999-0') },
  { name: 'stream: a lost group', fill: fillWithGroups, source: (redis) => redis.xgroup('CREATE', 'k', 'more', '5-0') },
  {
    name: 'stream: a group too many',
    fill: fillWithGroups,
    source: (redis) => redis.xgroup('DESTROY', 'k', 'readers'),
  },
  {
    name: 'stream: where a group is',
    fill: fillWithGroups,
    source: (redis) => redis.xgroup('SETID', 'k', 'readers', '9-0'),
  },
  {
    name: 'stream: a lost consumer',
    fill: fillWithGroups,
    source: (redis) => redis.call('XGROUP', 'CREATECONSUMER', 'k', 'readers', 'new'),
  },
  { name: 'stream: a lost XREADGROUP', fill: fillWithGroups, source: (redis) => read(redis, 'ann', 10) },
  { name: 'stream: a lost XACK', fill: fillWithGroups, source: (redis) => redis.xack('k', 'readers', '400-1') },
  {
    name: 'stream: who has an entry',
    fill: fillWithGroups,
    source: (redis) => redis.xclaim('k', 'readers', 'bob', 0, '15-1', 'JUSTID'),
  },
  {
    name: 'stream: how often an entry was delivered',
    fill: fillWithGroups,
    source: (redis) => redis.xclaim('k', 'readers', 'ann', 0, '15-1', 'RETRYCOUNT', 7),
  },
  {
    name: 'stream: pending entries that were trimmed away',
    fill: fillWithGroups,
    source: (redis) => redis.xtrim('k', 'MAXLEN', 800),
  },
  {
    name: 'stream: pending entries that were deleted here and there',
    fill: fillWithGroups,
    source: async (redis) => {
      await read(redis, 'ann', 10_000);
      await redis.xdel('k', '10-1', '11-1', '300-1', '301-1', '700-1', `${ENTRIES + 9}-1`);
    },
  },
  {
    name: 'stream: no entries, but a group',
    fill: (redis) => redis.xgroup('CREATE', 'k', 'readers', '0', 'MKSTREAM'),
    target: (redis) => redis.xgroup('DESTROY', 'k', 'readers'),
  },
  {
    name: 'stream: no entries left, all pending',
    fill: fillWithGroups,
    source: (redis) => redis.xtrim('k', 'MAXLEN', 0),
  },
  {
    name: 'stream: large entries',
    fill: async (redis) => {
      for (let i = 1; i < 60; i++) await redis.xadd('k', `${i}-0`, 'f', stringOf(20_000 + i));
      await redis.xadd('k', '60-0', 'f', stringOf(1_000_000));
    },
    target: (redis) => redis.xdel('k', '30-0'),
  },
];

async function otherEntry(redis: Redis): Promise<void> {
  const rest = (await redis.xrange('k', '700-1', '+')).map(([id]) => id);
  await redis.xdel('k', ...rest);
  await redis.call('XSETID', 'k', '699-1');
  for (const id of rest)
    await redis.xadd('k', id, 'n', id === '700-1' ? 'other' : `${Number.parseInt(id, 10) - 10}`, 'f', '');
}

/** For any type: all else is equal. */
function inGeneral(type: string, fill: (redis: Redis) => Promise<unknown>): Divergence[] {
  return [
    { name: `${type}: absent on the target`, fill, target: (redis) => redis.del('k') },
    {
      name: `${type}: another type on the target`,
      fill,
      target: (redis) => redis.multi().del('k').hset('k', 'f', 'v').exec(),
    },
    { name: `${type}: an expiry that the target lacks`, fill, source: (redis) => redis.pexpireat('k', EXPIRY) },
    { name: `${type}: an expiry on the target alone`, fill, target: (redis) => redis.pexpireat('k', EXPIRY) },
    {
      name: `${type}: absent on the target, with an expiry`,
      fill,
      source: (redis) => redis.pexpireat('k', EXPIRY),
      target: (redis) => redis.del('k'),
    },
    { name: `${type}: absent on the source`, fill, source: (redis) => redis.del('k') },
  ];
}

export const OF_ANY_TYPE: readonly Divergence[] = [
  ...inGeneral('string', fillString),
  ...inGeneral('list', fillList),
  ...inGeneral('stream', fillWithGroups),
];
