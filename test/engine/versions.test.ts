/**
 * Servers of different lines: what is equal is left alone, and what the target can't read as dumped
 * is built by commands.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LinkMemory, reconcileKeys } from '../../src/engine/index.js';
import { connectRedis, RedisFailure, type RedisPort } from '../../src/redis/index.js';
import {
  type Provision,
  provideRedis62,
  provideRedis74,
  provideRedis82,
  provideValkey9,
} from '../../src/stack/programs/index.js';
import { compareRedis } from '../support/compare.js';
import { keysOf } from '../support/keys.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import {
  DEFAULT_OPTIONS,
  intercept,
  once,
  reconcileOne,
  resetWrites,
  startLink,
  type TestLink,
  writesOn,
} from './link.js';

interface Line {
  readonly provide: (provision: Provision) => Promise<string>;
  /** The version of its dumps. */
  readonly dumps: number;
  /** Those up to its own version; Valkey none of the versions that are Redis' own. */
  readonly reads: (dumps: number) => boolean;
}

const LINES: Readonly<Record<string, Line>> = {
  'Redis 6.2': { provide: provideRedis62, dumps: 9, reads: (dumps) => dumps <= 9 },
  // The stack's own server, 7.0 or what the machine has.
  'Redis 7': { provide: async () => 'redis-server', dumps: 10, reads: (dumps) => dumps <= 10 },
  'Redis 7.4': { provide: provideRedis74, dumps: 12, reads: (dumps) => dumps <= 12 },
  'Redis 8.2': { provide: provideRedis82, dumps: 12, reads: (dumps) => dumps <= 12 },
  'Valkey 9': { provide: provideValkey9, dumps: 80, reads: (dumps) => dumps <= 11 || dumps === 80 },
};

interface Pair {
  readonly source: Line;
  readonly target: Line;
  /** The target can't read what the source dumps. */
  readonly refused: boolean;
}

const PAIRS: Readonly<Record<string, Pair>> = Object.fromEntries(
  Object.entries(LINES).flatMap(([ofSource, source]) =>
    Object.entries(LINES)
      .filter(([ofTarget]) => ofTarget !== ofSource)
      .map(([ofTarget, target]) => [
        `a source of ${ofSource} and a target of ${ofTarget}`,
        { source, target, refused: !target.reads(source.dumps) },
      ]),
  ),
);

/**
 * So that values of the same content have another encoding here; by names that all versions know.
 */
const OTHER_ENCODINGS = ['hash', 'zset']
  .flatMap((type) => [`--${type}-max-ziplist-entries`, '0'])
  .concat('--set-max-intset-entries', '0', '--list-max-ziplist-size', '1');

const STREAM = [
  ['XADD', 'k', '1-1', 'f', 'v', 'g', ''],
  ['XADD', 'k', '2-1', 'f', 'v'],
  ['XADD', 'k', '3-1', 'f', 'v'],
  ['XGROUP', 'CREATE', 'k', 'g', '0'],
  ['XGROUP', 'CREATECONSUMER', 'k', 'g', 'idle'],
  ['XREADGROUP', 'GROUP', 'g', 'ann', 'COUNT', '2', 'STREAMS', 'k', '>'],
  ['XDEL', 'k', '3-1'],
];
const EXPIRY = Date.now() + 3_600_000;
const many = (count: number) => Array.from({ length: count }, (_, i) => `${i}`);

const VALUES: [string, (string | Buffer)[][]][] = [
  ['string', [['SET', 'k', Buffer.from([0, 255, 128])]]],
  ['empty string', [['SET', 'k', '']]],
  ['big string', [['SET', 'k', Buffer.alloc(500_000, 'ab')]]],
  ['HyperLogLog', [['PFADD', 'k', ...many(1_000)]]],
  ['list', [['RPUSH', 'k', 'b', 'a', '', 'b', ...many(2_500)]]],
  ['list of big elements', [['RPUSH', 'k', Buffer.alloc(20_000, 'x'), 'small', Buffer.alloc(20_000, 'y')]]],
  ['set', [['SADD', 'k', 'a', '', ...many(2_500)]]],
  ['set of integers', [['SADD', 'k', ...many(100)]]],
  ['hash', [['HSET', 'k', 'f', 'v', '', '', ...many(3_002)]]],
  ['zset', [['ZADD', 'k', '0.1', 'a', '-inf', 'b', '1e300', 'c', '0', '', '-0', 'd']]],
  ['big zset', [['ZADD', 'k', ...many(3_000)]]],
  ['stream', STREAM],
  ['stream with a pending entry that was deleted', [...STREAM, ['XDEL', 'k', '1-1']]],
  ['long stream', many(300).map((i) => ['XADD', 'k', `${Number(i) + 1}-0`, 'field', i])],
  ['empty stream', [['XGROUP', 'CREATE', 'k', 'g', '$', 'MKSTREAM']]],
  [
    'key with an expiry',
    [
      ['SET', 'k', 'v'],
      ['PEXPIREAT', 'k', `${EXPIRY}`],
    ],
  ],
];

async function build({ client }: RedisServer, commands: (string | Buffer)[][]): Promise<void> {
  for (const [command, ...args] of commands) await client.call(command as string, ...args);
}

function connectSides(source: RedisServer, target: RedisServer): TestLink['sides'] {
  return {
    source: connectRedis({ url: source.url }, { name: 'source' }),
    target: connectRedis({ url: target.url }, { name: 'target' }),
  };
}

for (const [title, pair] of Object.entries(PAIRS)) {
  const provide = async (provision: Provision) => ({
    source: await pair.source.provide(provision),
    target: await pair.target.provide(provision),
  });
  await describeWith(title, provide, (binaries) => {
    let source: RedisServer;
    let target: RedisServer;
    let sides: TestLink['sides'];
    beforeAll(async () => {
      [source, target] = await Promise.all([
        startRedis([], { binary: binaries.source }),
        startRedis(OTHER_ENCODINGS, { binary: binaries.target }),
      ]);
      sides = connectSides(source, target);
      // What is learnt holds for a connection.
      await Promise.all([sides.source.check(), sides.target.check()]);
    });
    afterAll(async () => {
      await Promise.all([sides?.source.close(), sides?.target.close()]);
      await Promise.all([source?.stop(), target?.stop()]);
    });
    beforeEach(() => Promise.all([source.client.flushall(), target.client.flushall()]));

    test.each(VALUES)('repairs a %s, in place of whatever was there', async (_name, commands) => {
      await build(source, commands);
      for (const damage of [[], ['SET', 'k', 'old'], ['RPUSH', 'k', 'old'], ['HSET', 'k', 'f', 'old']]) {
        await target.client.del('k');
        if (damage.length > 0) await target.client.call(damage[0]!, ...damage.slice(1));
        expect(await reconcileOne(sides, 'k')).toMatchObject({ outcome: 'repaired', action: 'restored' });
        expect(await compareRedis(source.client, target.client)).toEqual([]);
        expect(await reconcileOne(sides, 'k')).toEqual({ outcome: 'equal' });
      }
      expect(await keysOf(target.client)).toHaveLength(1);
    });

    test.each(VALUES)('writes nothing to a %s that is equal, whatever its encoding', async (_name, commands) => {
      await build(source, commands);
      await build(target, commands);
      const memory = new LinkMemory(sides);
      await resetWrites(target);
      for (let times = 0; times < 2; times++) {
        expect(await reconcileOne({ ...sides, memory }, 'k')).toEqual({ outcome: 'equal' });
        // The second time by recipe, where the target had no reason to refuse anything yet.
        memory.payloadVersionRefused();
      }
      expect(await writesOn(target)).toEqual({});
    });

    test('repairs an expiry alone', async () => {
      for (const { client } of [source, target]) await client.rpush('k', 'a', 'b');
      await source.client.pexpireat('k', EXPIRY);
      const memory = new LinkMemory(sides);
      if (pair.refused) memory.payloadVersionRefused();
      await reconcileOne({ ...sides, memory }, 'k');
      expect(await compareRedis(source.client, target.client, { expiryToleranceMs: 2 })).toEqual([]);
      await source.client.persist('k');
      await reconcileOne({ ...sides, memory }, 'k');
      expect(await compareRedis(source.client, target.client)).toEqual([]);
    });

    test.each([
      ['with nothing learnt yet', false],
      ['by recipe', true],
    ])('never puts an older value over a live write, not even for a moment: %s', async (_form, byRecipe) => {
      await source.client.rpush('k', 'new');
      await target.client.rpush('k', 'old');
      const write = async () => {
        await source.client.rpush('k', 'newest');
        await target.client.multi().del('k').rpush('k', 'new', 'newest').exec();
      };
      const seen: string[][] = [];
      const memory = new LinkMemory(sides);
      if (byRecipe) memory.payloadVersionRefused();
      const intercepted = intercept(sides.target, {
        'before repair': once(write),
        'after repair': async () => seen.push(await target.client.lrange('k', 0, -1)),
      });
      await reconcileOne({ ...sides, target: intercepted, memory }, 'k');
      expect(seen.length).toBeGreaterThan(0);
      for (const value of seen) expect(value).toEqual(['new', 'newest']);
    });

    test.each([
      ['as dumped, if it can be', false],
      ['by recipe', true],
    ])('never takes a live expiry away, not even for a moment: %s', async (_form, byRecipe) => {
      await source.client.rpush('k', 'new');
      await target.client.rpush('k', 'old');
      const expire = async () => {
        for (const { client } of [source, target]) await client.pexpireat('k', EXPIRY);
      };
      const seen: number[] = [];
      const memory = new LinkMemory(sides);
      if (byRecipe) memory.payloadVersionRefused();
      const intercepted = intercept(sides.target, {
        'before repair': once(expire),
        'after repair': async () => seen.push(await target.client.pttl('k')),
      });
      await reconcileOne({ ...sides, target: intercepted, memory }, 'k');
      expect(seen.length).toBeGreaterThan(0);
      for (const left of seen) expect(left).toBeGreaterThan(0);
      expect(await compareRedis(source.client, target.client, { expiryToleranceMs: 2 })).toEqual([]);
    });

    test('gets values that are more than travel at once, each of them, whatever was learnt from the first', async () => {
      const keys = Array.from({ length: 8 }, (_, index) => `k${index}`);
      for (const key of keys) await source.client.set(key, Buffer.alloc(900_000, key));
      await resetWrites(target);
      const requests = keys.map((key) => ({ key: Buffer.from(key) }));
      const results = await reconcileKeys({ ...sides, memory: new LinkMemory(sides) }, requests, DEFAULT_OPTIONS);
      expect(results.map(({ outcome }) => outcome)).toEqual(keys.map(() => 'repaired'));
      expect(await compareRedis(source.client, target.client)).toEqual([]);
      // Those that had not travelled yet need not be refused as well.
      if (pair.refused) expect((await writesOn(target)).restore).toBeLessThan(keys.length);
    });

    test(`is asked to RESTORE ${pair.refused ? 'once, and then learns' : 'every value'}`, async () => {
      await source.client.rpush('first', 'a');
      await source.client.rpush('second', 'a');
      const memory = new LinkMemory(sides);
      await resetWrites(target);
      await reconcileOne({ ...sides, memory }, 'first');
      expect(await writesOn(target)).toMatchObject({ restore: 1 });
      await reconcileOne({ ...sides, memory }, 'second');
      expect(await writesOn(target)).toMatchObject({ restore: pair.refused ? 1 : 2 });
      expect(await compareRedis(source.client, target.client)).toEqual([]);
    });
  });
}

/** As a port without a budget does, so that what is admitted goes through the stand-in. */
function admitAll(port: RedisPort): RedisPort['admit'] {
  return async (requests) => ({ kind: 'admitted', keys: requests.length, port, done: () => 0 });
}

/** The same port, with a note of every call. */
function noting(port: RedisPort, side: string, notes: string[]): RedisPort {
  return new Proxy(port, {
    get(_target, name: keyof RedisPort, receiver: RedisPort) {
      const value = port[name];
      if (typeof value !== 'function') return value;
      if (name === 'admit') return admitAll(receiver);
      // Asks no server.
      if (name === 'shardsOf') return (keys: Buffer[]) => port.shardsOf(keys);
      return (...args: never[]) => {
        notes.push(`${side}.${name}`);
        return (value as (...args: never[]) => unknown).apply(port, args);
      };
    },
  });
}

await describeWith('what a pair of versions has taught', provideRedis62, (binary) => {
  let source: RedisServer;
  let target: RedisServer;
  let sides: TestLink['sides'];
  let memory: LinkMemory;
  const notes: string[] = [];
  beforeEach(async () => {
    [source, target] = await Promise.all([startRedis(), startRedis([], { binary })]);
    const ports = connectSides(source, target);
    sides = { source: noting(ports.source, 'source', notes), target: noting(ports.target, 'target', notes) };
    memory = new LinkMemory(sides);
    return async () => {
      await Promise.all([ports.source.close(), ports.target.close()]);
      await Promise.all([source.stop(), target.stop()]);
    };
  });

  /** @returns the calls that it took */
  async function calls(key: string): Promise<string[]> {
    notes.length = 0;
    expect(await reconcileOne({ ...sides, memory }, key)).toMatchObject({ outcome: 'repaired' });
    return [...notes];
  }

  const AS_DUMPED = ['target.inspect', 'source.read', 'target.repair', 'source.inspect'];
  // Observed anew: an observation holds for a short time only.
  const LEARNING = [...AS_DUMPED.slice(0, 3), 'source.readRecipes', 'target.rebuild', 'source.inspect'];
  const LEARNT = ['target.inspect', 'source.readRecipes', 'target.rebuild', 'source.inspect'];

  test('costs the first key two more calls, and the later ones none', async () => {
    for (const key of ['a', 'b', 'c']) await source.client.sadd(key, 'member');
    expect(await calls('a')).toEqual(LEARNING);
    expect(await calls('b')).toEqual(LEARNT);
    expect(await calls('c')).toEqual(LEARNT);
  });

  test('is forgotten with the connection: a target that was upgraded gets values as dumped', async () => {
    for (const key of ['a', 'b', 'c']) await source.client.sadd(key, 'member');
    expect(await calls('a')).toEqual(LEARNING);
    const { port } = target;
    await target.stop();
    target = await startRedis([], { port });
    expect(await calls('b')).toEqual(AS_DUMPED);
    expect(await calls('c')).toEqual(AS_DUMPED);
  });
});

describe('one value that the target can’t read', () => {
  let link: TestLink;
  beforeAll(async () => {
    link = await startLink();
  });
  afterAll(() => link?.stop());
  beforeEach(() => link.clear());

  /** As where the target lacks the module of a type: no module is needed to see what follows. */
  function refusing(port: RedisPort): RedisPort {
    return new Proxy(port, {
      get(_target, name: keyof RedisPort, receiver: RedisPort) {
        const value = port[name];
        if (name === 'admit') return admitAll(receiver);
        if (name === 'repair') {
          const answer: RedisPort['repair'] = async (all) => all.map(() => new RedisFailure('ERR', 'Bad data format'));
          return answer;
        }
        return typeof value === 'function' ? (value as () => unknown).bind(port) : value;
      },
    });
  }

  test('is built by commands, and teaches nothing of the others', async () => {
    await link.source.client.rpush('k', 'a');
    const memory = new LinkMemory(link.sides);
    const sides = { ...link.sides, target: refusing(link.sides.target), memory };
    expect(await reconcileOne(sides, 'k')).toMatchObject({ outcome: 'repaired', action: 'restored' });
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
    expect(memory.needsRecipes).toBe(false);
  });

  test('and that commands can’t build is Unsupported, with what to do', async () => {
    await link.source.client.rpush('k', 'a');
    const source = new Proxy(link.sides.source, {
      get(port, name: keyof RedisPort) {
        const value = port[name];
        if (name === 'readRecipes') {
          const answer: RedisPort['readRecipes'] = async (all) => all.map(() => new RedisFailure('NORECIPE', 'none'));
          return answer;
        }
        return typeof value === 'function' ? (value as () => unknown).bind(port) : value;
      },
    });
    const result = await reconcileOne({ source, target: refusing(link.sides.target) }, 'k');
    expect(result).toMatchObject({
      outcome: 'failed',
      error: { type: 'Unsupported', stage: 'write' },
    });
    expect(result.outcome === 'failed' && result.error.message).toBe(
      `target (127.0.0.1:${link.target.port}) cannot read the value as the other side dumped it: it lacks the module or the ` +
        'version for this type, and commands cannot build it; upgrade it, or copy this key by hand',
    );
  });
});
