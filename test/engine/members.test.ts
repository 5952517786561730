/** Reconciling named members alone: right like the whole key, and at the cost of the members. */
import * as fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { reconcileKeys } from '../../src/engine/index.js';
import { compareRedis } from '../support/compare.js';
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

let link: TestLink;
beforeAll(async () => {
  link = await startLink([], ['--set-max-intset-entries', '0', '--hash-max-listpack-entries', '0']);
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

const members = (...names: (string | Buffer)[]) => ({
  scope: { kind: 'members' as const, members: names.map((name) => Buffer.from(name as Buffer)) },
});
const EXPIRY = members();

async function onBoth(command: string, ...args: (string | Buffer | number)[]): Promise<void> {
  await link.source.client.call(command, ...args);
  await link.target.client.call(command, ...args);
}

async function differences(): Promise<number> {
  return (await compareRedis(link.source.client, link.target.client)).length;
}

describe('members', () => {
  test.each([
    ['a field that is missing', 'HSET', ['k', 'a', '1'], ['HSET', 'k', 'b', '2'], null, 'b'],
    ['a field with another value', 'HSET', ['k', 'a', '1'], ['HSET', 'k', 'a', 'new'], ['HSET', 'k', 'a', 'old'], 'a'],
    ['a field that is too much', 'HSET', ['k', 'a', '1'], null, ['HSET', 'k', 'b', '2'], 'b'],
    ['a field with an empty value', 'HSET', ['k', 'a', '1'], ['HSET', 'k', 'b', ''], null, 'b'],
    ['a member that is missing', 'SADD', ['k', 'a'], ['SADD', 'k', 'b'], null, 'b'],
    ['a member that is too much', 'SADD', ['k', 'a'], null, ['SADD', 'k', 'b'], 'b'],
    ['a score', 'ZADD', ['k', '1', 'a'], ['ZADD', 'k', '0.1', 'b'], ['ZADD', 'k', '7', 'b'], 'b'],
    ['an infinite score', 'ZADD', ['k', '1', 'a'], ['ZADD', 'k', '-inf', 'b'], ['ZADD', 'k', '7', 'b'], 'b'],
    ['a scored member that is too much', 'ZADD', ['k', '1', 'a'], null, ['ZADD', 'k', '7', 'b'], 'b'],
  ] as const)('%s is repaired', async (_name, create, args, onSource, onTarget, member) => {
    await onBoth(create, ...args);
    if (onSource) await link.source.client.call(...(onSource as unknown as [string, ...string[]]));
    if (onTarget) await link.target.client.call(...(onTarget as unknown as [string, ...string[]]));
    expect(await link.reconcile('k', members(member))).toMatchObject({ outcome: 'repaired', action: 'members' });
    expect(await differences()).toBe(0);
    expect(await link.reconcile('k', members(member))).toEqual({ outcome: 'equal' });
  });

  test('with any bytes are repaired byte for byte', async () => {
    const field = Buffer.from([0, 0xff, 58, 10]);
    await onBoth('HSET', 'k', 'a', '1');
    await link.source.client.hset('k', field, Buffer.from([0x80, 0, 0xff]));
    await link.reconcile('k', members(field));
    expect(await differences()).toBe(0);
  });

  test('that are not named stay as they are', async () => {
    await onBoth('HSET', 'k', 'a', '1');
    await link.source.client.hset('k', 'b', 'source', 'c', 'source');
    await link.target.client.hset('k', 'c', 'target');
    await link.reconcile('k', members('b'));
    expect(await link.target.client.hgetall('k')).toEqual({ a: '1', b: 'source', c: 'target' });
  });

  test('of a key that one side lacks, or has with another type, lead to the whole key', async () => {
    await link.source.client.sadd('missing', 'a', 'b', 'c');
    await link.source.client.sadd('other', 'a');
    await link.target.client.set('other', 'x');
    await onBoth('SADD', 'emptied', 'a', 'b');
    await link.source.client.del('emptied');
    await onBoth('SET', 'text', 'x');
    await link.source.client.set('text', 'y');
    for (const key of ['missing', 'other', 'emptied', 'text']) await link.reconcile(key, members('a'));
    expect(await differences()).toBe(0);
  });

  test.each([
    ['the target', 'members', members('b')],
    ['the target', 'the expiry', EXPIRY],
    ['the source', 'members', members('b')],
    ['the source', 'the expiry', EXPIRY],
  ])(
    'of which %s has more, although no failed write named them, lead from %s to the whole key',
    async (side, _what, scope) => {
      await onBoth('HSET', 'k', 'a', '1', 'b', '2');
      await (side === 'the target' ? link.target : link.source).client.hset('k', 'only', 'here');
      expect(await link.reconcile('k', scope)).toMatchObject({ outcome: 'repaired', action: 'restored' });
      expect(await differences()).toBe(0);
    },
  );

  test('whose removal empties the target bring the whole key', async () => {
    await link.source.client.sadd('k', 'other');
    await link.target.client.sadd('k', 'a');
    await link.reconcile('k', members('a'));
    expect(await differences()).toBe(0);
  });

  test('whose removal empties the target, because its others went meanwhile, bring the whole key', async () => {
    await onBoth('SADD', 'k', 'other');
    await link.target.client.sadd('k', 'a');
    const target = intercept(link.sides.target, {
      'before repair': once(() => link.target.client.srem('k', 'other')),
    });
    expect(await reconcileOne({ ...link.sides, target }, 'k', members('a'))).toMatchObject({ outcome: 'repaired' });
    expect(await differences()).toBe(0);
  });

  test('that replace the last one keep the expiry', async () => {
    await link.source.client.sadd('k', 'b');
    await link.target.client.sadd('k', 'a');
    await onBoth('PEXPIREAT', 'k', Date.now() + 3_600_000);
    await link.reconcile('k', members('a', 'b'));
    expect(await differences()).toBe(0);
  });

  test('take a different expiry of the key along', async () => {
    await onBoth('SADD', 'k', 'a');
    await link.source.client.expire('k', 3600);
    expect(await link.reconcile('k', members('a'))).toMatchObject({ outcome: 'repaired' });
    expect(await differences()).toBe(0);
  });

  test('of a million cost what those of ten cost', async () => {
    for (const server of [link.source, link.target]) {
      await server.client.eval("for i=1,1000000 do redis.call('SADD', KEYS[1], i) end", 1, 'k');
    }
    await link.source.client.sadd('k', 'new');
    const before = await bytesSent();
    await link.reconcile('k', members('new'));
    expect((await bytesSent()) - before).toBeLessThan(10_000);
    expect(await link.target.client.sismember('k', 'new')).toBe(1);
  });
});

async function bytesSent(): Promise<number> {
  const infos = await Promise.all([link.source, link.target].map(({ client }) => client.info('stats')));
  return infos.reduce((sum, info) => sum + Number(/total_net_output_bytes:(\d+)/.exec(info)![1]), 0);
}

describe('expiry alone', () => {
  test('is repaired without a look at the value, where that has members', async () => {
    await onBoth('HSET', 'k', 'f', 'v');
    await link.source.client.expire('k', 3600);
    expect(await link.reconcile('k', EXPIRY)).toEqual({
      outcome: 'repaired',
      action: 'expiry',
      type: 'hash',
      bytes: 0,
    });
    expect(await differences()).toBe(0);
  });

  test('is not taken for all that differs in a string, of which the length says nothing', async () => {
    await link.source.client.set('k', 'v');
    await link.target.client.set('k', 'w');
    expect(await link.reconcile('k', EXPIRY)).toMatchObject({ outcome: 'repaired', action: 'restored' });
    expect(await differences()).toBe(0);
  });

  test('is removed where the source has none', async () => {
    await onBoth('SET', 'k', 'v');
    await link.target.client.expire('k', 3600);
    await link.reconcile('k', EXPIRY);
    expect(await differences()).toBe(0);
  });

  test('that has passed on the source removes the key', async () => {
    await onBoth('SET', 'k', 'v');
    await link.source.client.pexpireat('k', 1);
    await link.reconcile('k', EXPIRY);
    expect(await differences()).toBe(0);
  });
});

describe('a live write of a member is never undone', () => {
  test.each([
    ['after the target was observed', 'target', 'after inspect'],
    ['after the source was read', 'source', 'after read'],
    ['before the repair', 'target', 'before repair'],
  ] as const)('%s', async (_moment, side, when) => {
    await onBoth('HSET', 'k', 'a', '1');
    await link.source.client.hset('k', 'a', 'new');
    const hooked = intercept(link.sides[side], { [when]: once(() => onBoth('HSET', 'k', 'a', 'newest')) });
    await resetWrites(link.target);
    await reconcileOne({ ...link.sides, [side]: hooked }, 'k', members('a'));
    expect(await link.target.client.hget('k', 'a')).toBe('newest');
    // By the live write alone: not even for a moment was it anything else.
    expect(await writesOn(link.target)).toEqual({ hset: 1 });
  });

  test.each([
    ['a new expiry', ['PEXPIREAT', 'k', '4000000000000'], { pexpireat: 1 }],
    ['the end of the key', ['DEL', 'k'], { del: 1 }],
  ] as const)('when it is %s', async (_what, [command, ...args], writes) => {
    await onBoth('HSET', 'k', 'a', '1');
    await link.source.client.hset('k', 'b', 'new');
    await link.source.client.pexpireat('k', 3_900_000_000_000);
    const target = intercept(link.sides.target, { 'before repair': once(() => onBoth(command, ...args)) });
    const written: Record<string, number>[] = [];
    const watched = intercept(target, { 'after repair': once(async () => written.push(await writesOn(link.target))) });
    await resetWrites(link.target);
    await reconcileOne({ ...link.sides, target: watched }, 'k', members('b'));
    expect(written).toEqual([writes]);
    expect(await differences()).toBe(0);
  });

  test('when it makes another value of the key, which then gets no expiry of the old one', async () => {
    await onBoth('HSET', 'k', 'a', '1');
    await link.source.client.expire('k', 3600);
    const target = intercept(link.sides.target, { 'before repair': once(() => onBoth('SET', 'k', 'newest')) });
    await resetWrites(link.target);
    await reconcileOne({ ...link.sides, target }, 'k', EXPIRY);
    expect(await writesOn(link.target)).toEqual({});
    expect(await differences()).toBe(0);
  });

  test('when the value of the comparison comes back before the repair', async () => {
    await onBoth('HSET', 'k', 'a', 'A');
    await link.source.client.hset('k', 'a', 'B');
    const late = async () => {
      await link.source.client.hset('k', 'a', 'A');
    };
    const target = intercept(link.sides.target, { 'before repair': once(late) });
    await reconcileOne({ ...link.sides, target }, 'k', members('a'));
    expect(await link.target.client.hget('k', 'a')).toBe('A');
  });
});

test('a member that becomes another one on the target alone, before the repair, is compared anew', async () => {
  await onBoth('HSET', 'k', 'a', '1');
  await link.source.client.hset('k', 'a', 'new');
  const target = intercept(link.sides.target, {
    'before repair': once(() => link.target.client.hset('k', 'a', 'stray')),
  });
  expect(await reconcileOne({ ...link.sides, target }, 'k', members('a'))).toMatchObject({ outcome: 'repaired' });
  expect(await differences()).toBe(0);
});

test.each([
  ['another expiry', () => link.source.client.pexpireat('k', 4_000_000_000_000)],
  ['another type', () => link.source.client.set('k', 'v', 'PXAT', 3_900_000_000_000)],
])('a repair after which the source has %s is followed by another', async (_what, move) => {
  await onBoth('HSET', 'k', 'a', '1');
  await link.source.client.pexpireat('k', 3_900_000_000_000);
  const target = intercept(link.sides.target, { 'after repair': once(move) });
  expect(await reconcileOne({ ...link.sides, target }, 'k', EXPIRY)).toMatchObject({ outcome: 'repaired' });
  expect(await differences()).toBe(0);
});

test('members that the source answers only later are looked at on the target once more before', async () => {
  const keys = ['k1', 'k2', 'k3', 'k4'];
  for (const key of keys) await link.source.client.hset(key, 'f', 'v'.repeat(500_000), 'g', 'w');
  for (const key of keys) await link.target.client.hset(key, 'f', 'old', 'g', 'w');
  const steps: string[] = [];
  const step = (name: string) => () => void steps.push(name);
  const source = intercept(link.sides.source, { 'before read': step('read') });
  const target = intercept(link.sides.target, { 'before inspect': step('observe'), 'before repair': step('write') });
  const scope = { kind: 'members' as const, members: [Buffer.from('f')] };
  const requests = keys.map((key) => ({ key: Buffer.from(key), scope }));
  const results = await reconcileKeys({ source, target }, requests, DEFAULT_OPTIONS);
  expect(results).toMatchObject(keys.map(() => ({ outcome: 'repaired' })));
  // One part at a time, each with its second look (more than one call where that is long).
  const parts = steps.join(' ').match(/observe read write( read)+/g)!;
  expect(parts.length).toBeGreaterThan(1);
  expect(parts.join(' ')).toBe(steps.join(' '));
});

test('a repair that a live write of both sides followed still counts as one', async () => {
  await onBoth('HSET', 'k', 'a', '1');
  await link.source.client.hset('k', 'a', 'new');
  const target = intercept(link.sides.target, { 'after repair': once(() => onBoth('HSET', 'k', 'a', 'newest')) });
  const result = await reconcileOne({ ...link.sides, target }, 'k', members('a'));
  expect(result).toMatchObject({ outcome: 'repaired', action: 'members' });
});

test('a score of -0 is one of 0, as other versions have it', async () => {
  await link.clear();
  await link.source.client.zadd('k', '-0', 'a');
  await link.target.client.zadd('k', '0', 'a');
  expect(await link.reconcile('k', members('a'))).toEqual({ outcome: 'equal' });
});

test('members of any kind, damaged at random, end equal', async () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const kind = fc.constantFrom('hash', 'set', 'zset');
  const content = fc.dictionary(name, fc.integer({ min: 0, max: 3 }), { minKeys: 1, noNullPrototype: true });
  await fc.assert(
    fc.asyncProperty(kind, content, content, async (type, ofSource, ofTarget) => {
      await link.clear();
      for (const [side, values] of [
        [link.source, ofSource],
        [link.target, ofTarget],
      ] as const) {
        for (const [member, value] of Object.entries(values)) {
          if (type === 'hash') await side.client.hset('k', member, value);
          if (type === 'set') await side.client.sadd('k', member);
          if (type === 'zset') await side.client.zadd('k', value, member);
        }
      }
      const touched = new Set([...Object.keys(ofSource), ...Object.keys(ofTarget)]);
      const result = await link.reconcile('k', members(...touched));
      expect(result.outcome).not.toBe('failed');
      expect(await differences()).toBe(0);
    }),
    { numRuns: 60 },
  );
});
