/**
 * Hashes, sets and sorted sets that lie in one piece of memory, because a server's settings say so:
 * SCAN then answers with all of one whatever COUNT says, and looking up a member steps over others.
 */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { reconcileKeys, reconcileLargeKey } from '../../src/engine/index.js';
import type { AdmissionRequest, RedisFailure, RedisPort } from '../../src/redis/index.js';
import { provideRedis74, provideRedis82 } from '../../src/stack/programs/index.js';
import { compareRedis } from '../support/compare.js';
import type { RedisServer } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import { longestHold } from './held.js';
import { DEFAULT_OPTIONS, portWith, startLink, type TestLink } from './link.js';

const IN_ONE_PIECE = [
  ...['--hash-max-listpack-entries', '10000000', '--hash-max-listpack-value', '10000000'],
  ...['--zset-max-listpack-entries', '10000000', '--set-max-intset-entries', '10000000'],
];
const MOST_MS = 25;
const KEY = Buffer.from('k');

interface Value {
  readonly name: string;
  readonly encoding: string;
  fill(client: Redis): Promise<unknown>;
  /** On the target. */
  damage(client: Redis): Promise<unknown>;
}

function numbers(count: number, first = 0): number[] {
  return Array.from({ length: count }, (_, n) => first + n);
}

/** Adds in steps what is not much at once. */
async function inSteps(count: number, step: number, add: (numbers: number[]) => Promise<unknown>): Promise<void> {
  for (let first = 0; first < count; first += step) {
    await add(numbers(Math.min(step, count - first), first));
  }
}

/** Member by member each would be found among all others. */
async function moved(client: Redis, command: string, words: string[][]): Promise<void> {
  const [setting, usual] = { HSET: ['hash-max-listpack-entries', '128'], ZADD: ['zset-max-listpack-entries', '128'] }[
    command
  ] as [string, string];
  const [, before] = (await client.config('GET', setting)) as [string, string];
  await client.config('SET', setting, usual);
  for (const some of words) await client.call(command, 'k', ...some);
  const dump = await client.dumpBuffer('k');
  await client.config('SET', setting, before);
  await client.restore('k', 0, dump!, 'REPLACE');
}

function fields(count: number, value = 'v'): string[][] {
  return numbers(count / 1_000).map((step) =>
    numbers(1_000, 1_000 * step).flatMap((n) => [`field:${n}`, `${value}${n % 1_000}`]),
  );
}

function hashOf(count: number): Value {
  return {
    name: `hash of ${count} fields`,
    encoding: 'listpack',
    fill: (client) => moved(client, 'HSET', fields(count)),
    damage: async (client) => {
      const some = numbers(500).flatMap((n) => [`field:${(count / 600) * n + 1}`, 'other']);
      await client.hset('k', 'too many', '1', ...some);
      await client.hdel('k', `field:${count - 1}`, 'field:0');
    },
  };
}

function integersOf(count: number): Value {
  return {
    name: `set of ${count} integers`,
    encoding: 'intset',
    fill: (client) => inSteps(count, 5_000, (numbers) => client.sadd('k', ...numbers.map((n) => 7 * n))),
    damage: async (client) => {
      await client.srem('k', 7, 7 * (count - 1_000));
      await client.sadd('k', 1);
    },
  };
}

function sortedSetOf(count: number): Value {
  return {
    name: `sorted set of ${count} members`,
    encoding: 'listpack',
    fill: (client) => {
      const words = fields(count, '').map((some) => some.toReversed());
      return moved(client, 'ZADD', words);
    },
    damage: async (client) => {
      await client.zadd('k', 3, 'too many', ...numbers(500).flatMap((n) => [1.5, `field:${30 * n + 1}`]));
      await client.zrem('k', `field:${count - 1}`, 'field:0');
    },
  };
}

const OTHERS: readonly Value[] = [
  {
    name: 'hash of 600 large fields',
    encoding: 'listpack',
    fill: (client) =>
      inSteps(600, 20, (numbers) => client.hset('k', ...numbers.flatMap((n) => [`f${n}`, `${n}`.padEnd(20_000)]))),
    damage: (client) => client.hset('k', 'f599', 'other'),
  },
  sortedSetOf(20_000),
];

const VALUES = [hashOf(42_000), integersOf(200_000), ...OTHERS];
/** To see what is in one piece takes time as well where the encoding is not told. */
const SMALLER_VALUES = [hashOf(18_000), integersOf(60_000), ...OTHERS];

describe('in one piece on the source alone', () => {
  let link: TestLink;
  beforeAll(async () => {
    link = await startLink(IN_ONE_PIECE);
  });
  afterAll(() => link?.stop());
  beforeEach(() => link.clear());

  const options = { ...DEFAULT_OPTIONS, onProgress: () => {} };

  test.each([
    [integersOf(300_000), 'set-max-intset-entries'],
    [hashOf(130_000), 'hash-max-listpack-entries'],
    [sortedSetOf(260_000), 'zset-max-listpack-entries'],
  ])(
    'a $name, which no command reads soon enough, is not read, and the failure says what to do',
    async (value, setting) => {
      await value.fill(link.source.client);
      expect(await link.source.client.object('ENCODING', 'k')).toBe(value.encoding);
      const longest = await longestHold([link.source, link.target], MOST_MS, async () => {
        expect(await reconcileLargeKey(link.sides, { key: KEY }, options)).toMatchObject({
          outcome: 'failed',
          error: { type: 'Unsupported', message: expect.stringMatching(`^source .*in one piece.*${setting}`) },
        });
      });
      expect(longest.ms, longest.text).toBeLessThan(MOST_MS);
    },
  );

  test('a hash of large fields is not read by one command', async () => {
    const { fill } = OTHERS[0]!;
    await fill(link.source.client);
    await link.source.client.config('RESETSTAT');
    expect(await reconcileLargeKey(link.sides, { key: KEY }, options)).toMatchObject({ outcome: 'repaired' });
    expect(await link.source.client.info('commandstats')).not.toContain('cmdstat_hgetall');
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });
});

describe.each([
  ['the source', 'told', IN_ONE_PIECE, [], VALUES],
  ['the target', 'told', [], IN_ONE_PIECE, VALUES],
  ['both sides', 'told', IN_ONE_PIECE, IN_ONE_PIECE, VALUES],
  ['both sides', 'refused', IN_ONE_PIECE, IN_ONE_PIECE, SMALLER_VALUES],
] as const)('in one piece on %s, the encoding being %s', (where, encodings, sourceArgs, targetArgs, values) => {
  let link: TestLink;
  beforeAll(async () => {
    link = await startLink([...sourceArgs], [...targetArgs]);
  });
  afterAll(() => link?.stop());
  beforeEach(async () => {
    await allowEncodings(true);
    await link.clear();
  });

  async function allowEncodings(allowed: boolean): Promise<void> {
    for (const { client } of [link.source, link.target]) {
      await client.call('ACL', 'SETUSER', 'default', allowed ? '+object' : '-object');
      if (!allowed) await expect(client.object('ENCODING', 'k')).rejects.toThrow('NOPERM');
    }
  }

  const pieces = () => [
    ...(where === 'the target' ? [] : [link.source]),
    ...(where === 'the source' ? [] : [link.target]),
  ];

  async function reconcile() {
    const options = { ...DEFAULT_OPTIONS, onProgress: () => {} };
    const result = await reconcileLargeKey(link.sides, { key: KEY }, options);
    expect(result).toMatchObject({ outcome: 'repaired' });
    return result;
  }

  test.each(values)('a $name is repaired, and no server is held for long', async ({ encoding, fill, damage }) => {
    await Promise.all([fill(link.source.client), fill(link.target.client)]);
    for (const { client } of pieces()) expect(await client.object('ENCODING', 'k')).toBe(encoding);
    await allowEncodings(encodings === 'told');
    const servers: RedisServer[] = [link.source, link.target];
    const longest = await longestHold(servers, MOST_MS, async () => {
      await damage(link.target.client);
      await reconcile();
    });
    expect(longest.ms, longest.text).toBeLessThan(MOST_MS);
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });

  test('members that a failed write names are looked up a few at a time', async () => {
    const { fill } = values[0]!;
    await Promise.all([fill(link.source.client), fill(link.target.client)]);
    await allowEncodings(encodings === 'told');
    const names = numbers(300).map((n) => `field:${60 * n}`);
    const scope = { kind: 'members', members: names.map((name) => Buffer.from(name)) } as const;
    const longest = await longestHold([link.source, link.target], MOST_MS, async () => {
      await link.target.client.hset('k', ...names.flatMap((name) => [name, 'other']));
      const [result] = await reconcileKeys(link.sides, [{ key: KEY, scope }], DEFAULT_OPTIONS);
      expect(result).toMatchObject({ outcome: 'repaired', action: 'members' });
    });
    expect(longest.ms, longest.text).toBeLessThan(MOST_MS);
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });
});

const LINES = { 'Redis 7.4': provideRedis74, 'Redis 8.2': provideRedis82 };

for (const [title, provide] of Object.entries(LINES)) {
  await describeWith(`${title}: a hash in one piece of which fields expire`, provide, (binary) => {
    let link: TestLink;
    beforeAll(async () => {
      link = await startLink(IN_ONE_PIECE, IN_ONE_PIECE, { source: { binary }, target: { binary } });
    });
    afterAll(() => link?.stop());
    beforeEach(() => link.clear());

    const options = { ...DEFAULT_OPTIONS, onProgress: () => {} };

    async function fill({ client }: RedisServer, count: number): Promise<void> {
      await client.call('ACL', 'SETUSER', 'default', '+object');
      await moved(client, 'HSET', fields(count));
      await client.call('HPEXPIRE', 'k', 10_000_000, 'FIELDS', 1, 'field:1');
      expect(await client.object('ENCODING', 'k')).toBe('listpackex');
    }

    /** The port, with something done at each call that digests some members. */
    function digesting(port: RedisPort, onCall: () => void): RedisPort {
      const hooked = (port: RedisPort): RedisPort =>
        portWith(port, {
          digestMembers(members) {
            onCall();
            return port.digestMembers(members);
          },
          async admit(requests: readonly AdmissionRequest[]) {
            const admission = await port.admit(requests);
            return 'port' in admission ? { ...admission, port: hooked(admission.port) } : admission;
          },
        });
      return hooked(port);
    }

    test.each(['+object', '-object'])('is not read where the fields are too many to be looked up: %s', async (rule) => {
      await fill(link.source, 21_000);
      await link.source.client.call('ACL', 'SETUSER', 'default', rule);
      expect(await reconcileLargeKey(link.sides, { key: KEY }, options)).toMatchObject({
        outcome: 'failed',
        error: {
          type: 'Unsupported',
          message: expect.stringMatching(/^source .*in one piece.*hash-max-listpack-entries/),
        },
      });
    });

    test.each(['source', 'target'] as const)(
      'on the %s is read no further by an attempt that was given up',
      async (side) => {
        await Promise.all([fill(link.source, 2_000), fill(link.target, 2_000)]);
        const attempt = new AbortController();
        let calls = 0;
        const port = digesting(link.sides[side], () => {
          calls += 1;
          attempt.abort(new Error('given up'));
        });
        const sides = { ...link.sides, [side]: port };
        const ended = reconcileLargeKey(sides, { key: KEY }, { ...options, signal: attempt.signal });
        await expect(ended).rejects.toThrow('given up');
        expect(calls).toBe(1);
      },
    );

    test('on the target is paid for call by call', async () => {
      await Promise.all([fill(link.source, 2_000), fill(link.target, 2_000)]);
      let [calls, admissions] = [0, 0];
      const target = digesting(
        portWith(link.sides.target, {
          admit(requests) {
            admissions += 1;
            return link.sides.target.admit(requests);
          },
        }),
        () => {
          calls += 1;
        },
      );
      await link.target.client.hset('k', 'field:2', 'other');
      expect(await reconcileLargeKey({ ...link.sides, target }, { key: KEY }, options)).toMatchObject({
        outcome: 'repaired',
      });
      expect(calls).toBeGreaterThan(10);
      expect(admissions).toBeGreaterThanOrEqual(calls);
      expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
    });
  });
}

describe('a page of a sorted set in one piece', () => {
  const COUNT = 2_000;
  const names = numbers(COUNT).map((n) => `m${String(n).padStart(5, '0')}`);
  let link: TestLink;
  beforeAll(async () => {
    link = await startLink(IN_ONE_PIECE);
  });
  afterAll(() => link?.stop());
  beforeEach(async () => {
    await link.clear();
    const words = names.flatMap((name, n) => [`${n}`, name]);
    await inSteps(COUNT, 500, (some) =>
      link.source.client.zadd('k', ...words.slice(2 * some[0]!, 2 * some.at(-1)! + 2)),
    );
    expect(await link.source.client.object('ENCODING', 'k')).toBe('listpack');
  });

  const page = async (cursor: string) => {
    const answer = await link.sides.source.scanMembers({ key: KEY, type: 'zset', cursor, count: 500 });
    return answer as Exclude<typeof answer, RedisFailure | null>;
  };

  test.each<[string, (client: Redis) => Promise<unknown>]>([
    ['nothing has changed', async () => {}],
    ['one before it has gone', (client) => client.zrem('k', names[0]!)],
    ['many before it have gone', (client) => client.zrem('k', ...names.slice(0, 150))],
    ['many have come before it', (client) => client.zadd('k', ...numbers(150).flatMap((n) => [-1, `new${n}`]))],
  ])('begins behind the last one before when %s', async (_what, change) => {
    const first = await page('0');
    if (first === 'lost') throw new Error('nothing was lost yet');
    await change(link.source.client);
    const second = await page(first.cursor);
    if (second === 'lost') throw new Error('it was not found again');
    const last = names.indexOf(String(first.members.at(-1)));
    expect(String(second.members[0])).toBe(names[last + 1]);
  });

  test('is lost when the last member before it has gone', async () => {
    const first = await page('0');
    if (first === 'lost') throw new Error('nothing was lost yet');
    await link.source.client.zrem('k', first.members.at(-1)!);
    expect(await page(first.cursor)).toBe('lost');
  });
});
