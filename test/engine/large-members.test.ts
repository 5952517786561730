/**
 * Hashes, sets and sorted sets that are too large for one call. The limits are set low, so that
 * small values count as large.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type LargeKeyOptions, type LargeKeyProgress, reconcileLargeKey } from '../../src/engine/index.js';
import { connectRedis, RedisFailure, type RedisPort } from '../../src/redis/index.js';
import { workedUs } from '../redis/commandstats.js';
import { compareRedis } from '../support/compare.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { DEFAULT_OPTIONS, intercept, once, portWith, startLink, type TestLink } from './link.js';

const LIMITS = { elements: 100, bytes: 20_000 };

let link: TestLink;
beforeAll(async () => {
  link = await startLink([], [], { largeValues: LIMITS });
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

const KEY = Buffer.from('k');

async function reconcileLarge(options: Partial<LargeKeyOptions> = {}, sides = link.sides) {
  return reconcileLargeKey(sides, { key: KEY }, { ...DEFAULT_OPTIONS, onProgress: () => {}, ...options });
}

const TYPES = ['hash', 'set', 'zset'] as const;
type Type = (typeof TYPES)[number];

/** Adds members `from` up to `to`, each with a value of its own. */
async function add({ client }: RedisServer, type: Type, from: number, to: number, value = 'v'): Promise<void> {
  for (let first = from; first < to; first += 1_000) {
    const numbers = Array.from({ length: Math.min(1_000, to - first) }, (_, i) => first + i);
    if (type === 'hash') await client.hset('k', ...numbers.flatMap((n) => [`m${n}`, `${value}${n}`]));
    if (type === 'set') await client.sadd('k', ...numbers.map((n) => `m${n}`));
    if (type === 'zset') await client.zadd('k', ...numbers.flatMap((n) => [value === 'v' ? n : -n, `m${n}`]));
  }
}

const SIZE = { hash: 'HLEN', set: 'SCARD', zset: 'ZCARD' } as const;

async function remove({ client }: RedisServer, type: Type, ...members: string[]): Promise<void> {
  await client.call({ hash: 'HDEL', set: 'SREM', zset: 'ZREM' }[type], 'k', ...members);
}

async function expectEqual(): Promise<void> {
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
}

test.each(TYPES)('one call answers that a %s with too many elements is large, and does nothing', async (type) => {
  await add(link.source, type, 0, 101);
  await link.source.client.config('RESETSTAT');
  expect(await link.reconcile('k')).toEqual({ outcome: 'large' });
  // Not even to find that out is it gone through as a whole.
  expect(await link.source.client.info('commandstats')).not.toContain('cmdstat_dump');
  expect(await link.target.client.exists('k')).toBe(0);
  await remove(link.source, type, 'm0');
  expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired' });
});

test('so does one with a single huge element among few, and a long string', async () => {
  await link.source.client.hset('k', 'a', '1', 'b', 'x'.repeat(20_001), 'c', '3');
  expect(await link.reconcile('k')).toEqual({ outcome: 'large' });
  await link.source.client.set('k', 'x'.repeat(20_001));
  expect(await link.reconcile('k')).toEqual({ outcome: 'large' });
  await link.source.client.set('k', 'x'.repeat(20_000));
  expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired' });
});

test.each(TYPES)('so does one where only the target’s %s is large', async (type) => {
  await add(link.source, type, 0, 10);
  await add(link.target, type, 0, 200);
  expect(await link.reconcile('k')).toEqual({ outcome: 'large' });
});

describe.each(TYPES)('a large %s', (type) => {
  test('that is equal is left alone', async () => {
    await add(link.source, type, 0, 1_000);
    await add(link.target, type, 0, 1_000);
    await link.target.client.config('RESETSTAT');
    expect(await reconcileLarge()).toEqual({ outcome: 'equal' });
    expect(await link.target.client.info('commandstats')).not.toMatch(/cmdstat_(h|z)set|cmdstat_sadd|cmdstat_zadd/);
  });

  test('gets what it lacks, loses what it should not have and has the right values, and nothing else is written', async () => {
    await add(link.source, type, 0, 2_000);
    await add(link.target, type, 0, 2_000);
    await add(link.target, type, 500, 503, 'other');
    await add(link.target, type, 3_000, 3_002);
    await remove(link.target, type, 'm7', 'm1999');
    await link.target.client.config('RESETSTAT');
    expect(await reconcileLarge()).toMatchObject({ outcome: 'repaired', action: 'members', type });
    const writes = [
      ...(await link.target.client.info('commandstats')).matchAll(/cmdstat_(hset|sadd|zadd):calls=(\d+)/g),
    ];
    expect(writes.reduce((sum, [, , calls]) => sum + Number(calls), 0)).toBeLessThanOrEqual(5);
    await expectEqual();
  });

  test('that the target lacks is made, expiry included', async () => {
    await add(link.source, type, 0, 1_500);
    await link.source.client.pexpire('k', 3_600_000);
    expect(await reconcileLarge()).toMatchObject({ outcome: 'repaired' });
    await expectEqual();
  });

  test('whose expiry alone differs gets it', async () => {
    await add(link.source, type, 0, 300);
    await add(link.target, type, 0, 300);
    await link.target.client.pexpire('k', 3_600_000);
    expect(await reconcileLarge()).toMatchObject({ outcome: 'repaired' });
    await expectEqual();
  });

  test('that has become small on the source is cut down', async () => {
    await add(link.source, type, 5, 8);
    await add(link.target, type, 0, 2_000);
    expect(await reconcileLarge()).toMatchObject({ outcome: 'repaired' });
    await expectEqual();
  });

  test('is not overwritten where a live write lands between comparison and repair', async () => {
    await add(link.source, type, 0, 1_000);
    await add(link.target, type, 0, 1_000);
    await add(link.target, type, 400, 401, 'stale');
    const live = async () => {
      for (const side of [link.source, link.target]) await add(side, type, 400, 401, 'live');
    };
    // The first `repair` is that of the one differing member.
    const target = intercept(link.sides.target, { 'before repair': once(live) });
    if (type === 'set') return; // A member of a set has no value that could differ.
    expect(await reconcileLarge({}, { source: link.sides.source, target })).not.toMatchObject({ outcome: 'failed' });
    await expectEqual();
    expect(await link.source.client.call(type === 'hash' ? 'HGET' : 'ZSCORE', 'k', 'm400')).toBe(
      type === 'hash' ? 'live400' : '-400',
    );
  });

  test('is gone on with where an attempt stopped', async () => {
    await add(link.source, type, 0, 5_000);
    await add(link.target, type, 0, 4_900);
    // Wherever the pages of the source have stopped, those of the target begin at the beginning.
    await add(link.target, type, 6_000, 6_300);
    const reached: LargeKeyProgress[] = [];
    const abort = new AbortController();
    const onProgress = (progress: LargeKeyProgress | undefined) => {
      reached.push(progress!);
      if (reached.length === 5) abort.abort();
    };
    await expect(reconcileLarge({ signal: abort.signal, onProgress })).rejects.toThrow();
    const cursors: string[] = [];
    const source = watchScans(cursors);
    const resume = reached.at(-1)!;
    await reconcileLarge({ resume }, { source, target: link.sides.target });
    expect(cursors[0]).toBe(resume.cursor);
    expect(cursors).not.toContain('0');
    await expectEqual();
  });

  test('is gone through from the beginning where either server is not the one of the earlier attempt', async () => {
    await add(link.source, type, 0, 1_000);
    await add(link.target, type, 0, 900);
    const [source, target] = (await Promise.all([
      link.sides.source.server(KEY),
      link.sides.target.server(KEY),
    ])) as string[];
    const unknown = 'f'.repeat(40);
    for (const servers of [
      { source: unknown, target: target! },
      { source: source!, target: unknown },
    ]) {
      const cursors: string[] = [];
      const resume: LargeKeyProgress = { pass: 'target', type, cursor: '64', servers, repairedBytes: null };
      await reconcileLarge({ resume }, { source: watchScans(cursors), target: link.sides.target });
      expect(cursors[0]).toBe('0');
      await expectEqual();
    }
  });
});

test('a key that is of another type by now is gone through from the beginning', async () => {
  await add(link.source, 'hash', 0, 1_000);
  await add(link.target, 'hash', 0, 900);
  const [source, target] = await Promise.all([link.sides.source.server(KEY), link.sides.target.server(KEY)]);
  const servers = { source: String(source), target: String(target) };
  // As of a sorted set in one piece, which no other type knows.
  const resume: LargeKeyProgress = { pass: 'source', type: 'zset', cursor: '499-ab', servers, repairedBytes: null };
  expect(await reconcileLarge({ resume })).toMatchObject({ outcome: 'repaired' });
  await expectEqual();
});

test('an attempt that follows a restart of the target, which has lost what was repaired, begins anew', async () => {
  let target = await startRedis();
  const port = connectRedis({ url: target.url }, { name: 'target', largeValues: LIMITS });
  try {
    await add(link.source, 'hash', 0, 3_000);
    const reached: (LargeKeyProgress | undefined)[] = [];
    const stop = new AbortController();
    const onProgress = (progress: LargeKeyProgress | undefined) => {
      reached.push(progress);
      if (reached.length === 3) stop.abort();
    };
    const sides = { source: link.sides.source, target: port };
    await expect(reconcileLarge({ signal: stop.signal, onProgress }, sides)).rejects.toThrow();
    await target.stop();
    target = await startRedis([], { port: target.port });
    await expect.poll(() => port.check().then(() => 'answers', String)).toBe('answers');
    await reconcileLarge({ resume: reached.at(-1) }, sides);
    expect(await compareRedis(link.source.client, target.client)).toEqual([]);
  } finally {
    await port.close();
    await target.stop();
  }
});

test('an attempt that fails behind a repair says that the target was written', async () => {
  await add(link.source, 'hash', 0, 300);
  await add(link.target, 'hash', 1, 300);
  const target = portWith(link.sides.target, {
    scanMembers: async () => new RedisFailure('CONNECTION', 'lost'),
    admit: async (requests) => ({ kind: 'admitted', keys: requests.length, port: target, done: () => 0 }),
  });
  expect(await reconcileLarge({}, { source: link.sides.source, target })).toMatchObject({
    outcome: 'failed',
    error: { type: 'TargetUnavailable', stage: 'read' },
    wrote: true,
  });
});

test('an attempt that fails at one page ends when nothing of it is at work any more', async () => {
  await add(link.source, 'hash', 0, 1_200);
  await add(link.target, 'hash', 0, 1_200, 'other');
  let begun = () => {};
  const nextPage = new Promise<void>((resolve) => (begun = resolve));
  let written = 0;
  const target = intercept(link.sides.target, {
    'before repair': async (call) => {
      if (call > 0) return begun();
      await nextPage;
      throw new Error('one page');
    },
    'after repair': () => (written += 1),
  });
  await expect(reconcileLarge({}, { ...link.sides, target })).rejects.toThrow('one page');
  const before = written;
  expect(before).toBeGreaterThan(0);
  // A round trip, behind whatever would still come.
  for (let turn = 0; turn < 20; turn++) await link.target.client.ping();
  expect(written).toBe(before);
});

test('a server that another one has replaced on the way has its members gone through once more', async () => {
  await add(link.source, 'hash', 0, 300);
  await add(link.target, 'hash', 1, 300);
  const cursors: string[] = [];
  let asked = 0;
  // A failover between two calls, none of which fails: no real one can be timed so.
  const target = portWith(link.sides.target, {
    server: async (key) => (asked++ === 0 ? 'the old master' : link.sides.target.server(key)),
  });
  // The second time there is nothing to repair; the first still counts.
  expect(await reconcileLarge({}, { source: watchScans(cursors), target })).toMatchObject({ outcome: 'repaired' });
  expect(cursors.filter((cursor) => cursor === '0')).toHaveLength(2);
});

function watchScans(cursors: string[]) {
  return new Proxy(link.sides.source, {
    get(port, name) {
      if (name === 'scanMembers') {
        return (scan: Parameters<typeof port.scanMembers>[0]) => {
          cursors.push(scan.cursor);
          return port.scanMembers(scan);
        };
      }
      const value = Reflect.get(port, name, port);
      return typeof value === 'function' ? value.bind(port) : value;
    },
  });
}

describe.each(TYPES)('a %s whose key vanishes from the target alone behind the first pages', (type) => {
  const vanish = () => link.target.client.del('k');

  test('is not repaired before all of it is there', async () => {
    await add(link.source, type, 0, 3_001);
    await add(link.target, type, 0, 1);
    const target = intercept(link.sides.target, { 'before repair': (call) => (call === 3 ? vanish() : undefined) });
    expect(await reconcileLarge({}, { ...link.sides, target })).toMatchObject({ outcome: 'repaired' });
    await expectEqual();
  });

  test('nor is it in an attempt that goes on where another one has stopped', async () => {
    await add(link.source, type, 0, 3_001);
    const abort = new AbortController();
    let reached: LargeKeyProgress | undefined;
    const onProgress = (progress: LargeKeyProgress | undefined) => {
      reached = progress;
      abort.abort();
    };
    await reconcileLarge({ onProgress, signal: abort.signal }).catch(() => {});
    await vanish();
    expect(await reconcileLarge({ resume: reached })).toMatchObject({ outcome: 'repaired' });
    await expectEqual();
  });

  test('is not equal', async () => {
    await add(link.source, type, 0, 3_001);
    await add(link.target, type, 0, 3_001);
    const target = intercept(link.sides.target, {
      'before inspect': (call) => (call === 3 ? vanish() : undefined),
    });
    expect(await reconcileLarge({}, { ...link.sides, target })).toMatchObject({ outcome: 'repaired' });
    await expectEqual();
  });
});

const beside = () => link.target.client.keys('keymend:replacement:*');

describe.each([
  ['goes behind the first pages', async () => link.target.client.del(await beside())],
  [
    'is not as it was observed when a page is written',
    async () => link.target.client.pexpire((await beside())[0]!, 500_000),
  ],
])('what is built in the place of another type, and %s,', (_what, happen) => {
  test.each(TYPES)('is never there in part (%s)', async (type) => {
    await add(link.source, type, 0, 3_001);
    await link.target.client.rpush('k', ...Array.from({ length: 200 }, (_, i) => `${i}`));
    const sizes = new Set<unknown>();
    const target = intercept(link.sides.target, {
      'before repair': (call) => (call === 3 ? happen() : undefined),
      'before inspect': async () => {
        if ((await link.target.client.type('k')) === type) sizes.add(await link.target.client.call(SIZE[type], 'k'));
      },
    });
    expect(await reconcileLarge({}, { ...link.sides, target })).toMatchObject({ outcome: 'repaired' });
    expect([...sizes]).toEqual([3_001]);
    await expectEqual();
  });
});

test.each(['m0', 'nobody'])(
  'a member (%s) of a large value that has another type on the target leads to the whole key',
  async (name) => {
    await add(link.source, 'hash', 0, 200);
    await add(link.target, 'set', 0, 200);
    const scope = { kind: 'members' as const, members: [Buffer.from(name)] };
    expect(await link.reconcile('k', { scope })).toEqual({ outcome: 'large' });
  },
);

test('a value that becomes another one on the target behind the last page is not taken for equal', async () => {
  await add(link.source, 'hash', 0, 300);
  await add(link.target, 'hash', 0, 300);
  let scans = 0;
  const scanMembers: RedisPort['scanMembers'] = async (scan) => {
    const page = await link.sides.target.scanMembers(scan);
    const isLast = page !== null && page !== 'lost' && !(page instanceof RedisFailure) && page.cursor === '0';
    if (isLast && scans++ === 0) await link.target.client.set('k', 'another');
    return page;
  };
  const target = portWith(link.sides.target, {
    scanMembers,
    admit: async (requests) => ({ kind: 'admitted', keys: requests.length, port: target, done: () => 0 }),
  });
  expect(await reconcileLarge({}, { source: link.sides.source, target })).toMatchObject({ outcome: 'repaired' });
  expect(scans).toBeGreaterThan(0);
  await expectEqual();
});

test('a source that has become a replica is not believed, although its pages are', async () => {
  await add(link.source, 'hash', 0, 500);
  await add(link.target, 'hash', 0, 500);
  await link.source.client.config('SET', 'replica-serve-stale-data', 'yes');
  await link.source.client.replicaof('127.0.0.1', 1);
  try {
    const result = await reconcileLarge();
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'SourceNotMaster' } });
  } finally {
    await link.source.client.replicaof('NO', 'ONE');
  }
});

test('fields of 4 MB are gone through a few at a time', async () => {
  const value = Buffer.alloc(4 << 20, 'x');
  for (let field = 0; field < 10; field++) await link.source.client.hset('k', `f${field}`, value);
  await link.source.client.config('RESETSTAT');
  expect(await reconcileLarge()).toMatchObject({ outcome: 'repaired' });
  const [, pages] = /cmdstat_hscan:calls=(\d+)/.exec(await link.source.client.info('commandstats'))!;
  expect(Number(pages)).toBeGreaterThan(4);
  expect(await link.target.client.hlen('k')).toBe(10);
});

test('the commands hold a server far shorter than 10 ms each on a hash of 300,000 fields', async () => {
  const big = await startLink();
  try {
    const servers = [big.source, big.target];
    for (const server of servers) await add(server, 'hash', 0, 300_000);
    await add(big.target, 'hash', 100, 110, 'other');
    for (const { client } of servers) await client.config('RESETSTAT');
    const before = await Promise.all(servers.map(workedUs));
    await reconcileLargeKey(big.sides, { key: KEY }, { ...DEFAULT_OPTIONS, onProgress: () => {} });
    for (const [index, server] of servers.entries()) {
      const worked = (await workedUs(server)) - before[index]!;
      const [, calls] = /cmdstat_evalsha:calls=(\d+)/.exec(await server.client.info('commandstats'))!;
      expect(worked / Number(calls)).toBeLessThan(10_000);
    }
    expect(await compareRedis(big.source.client, big.target.client)).toEqual([]);
  } finally {
    await big.stop();
  }
});

test('connections with other limits tell a large value by their own', async () => {
  const roomy = connectRedis({ url: link.source.url }, { name: 'roomy' });
  await add(link.source, 'hash', 0, 200);
  expect(await roomy.inspect([KEY])).toMatchObject([{ type: 'hash', digest: expect.stringMatching(/^dump:/) }]);
  expect(await link.sides.source.inspect([KEY])).toMatchObject([{ type: 'hash', digest: 'large' }]);
  await roomy.close();
});
