/** Hashes in which single fields expire: as whole keys, by commands, and field by field. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type KeyResult, LinkMemory, reconcileLargeKey } from '../../src/engine/index.js';
import { connectRedis } from '../../src/redis/index.js';
import { provideRedis62, provideRedis74, provideRedis82, provideValkey9 } from '../../src/stack/programs/index.js';
import { compareRedis } from '../support/compare.js';
import { eventually } from '../support/eventually.js';
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

const HOUR_MS = 3_600_000;
const at = Date.now() + HOUR_MS;

async function expireField({ client }: RedisServer, field: string, expiry: number): Promise<void> {
  await client.call('HPEXPIREAT', 'k', expiry, 'FIELDS', '1', field);
}

/** When each field of the hash `k` expires, -1 for one that does not. */
async function expiriesOf({ client }: RedisServer): Promise<Record<string, number>> {
  const fields = (await client.hkeys('k')).sort();
  if (fields.length === 0) return {};
  const expiries = (await client.call('HPEXPIRETIME', 'k', 'FIELDS', fields.length, ...fields)) as number[];
  return Object.fromEntries(fields.map((field, index) => [field, expiries[index]!]));
}

const named = (...names: string[]) => ({
  scope: { kind: 'members' as const, members: names.map((name) => Buffer.from(name)) },
});

const LINES = { 'Redis 7.4': provideRedis74, 'Redis 8.2': provideRedis82, 'Valkey 9': provideValkey9 };

for (const [title, provide] of Object.entries(LINES)) {
  await describeWith(`fields that expire by themselves, between two ${title}`, provide, (binary) => {
    let link: TestLink;
    beforeAll(async () => {
      link = await startLink(['--enable-debug-command', 'local'], ['--hash-max-listpack-entries', '0'], {
        source: { binary },
        target: { binary },
      });
      // What is learnt holds for a connection.
      await Promise.all([link.sides.source.check(), link.sides.target.check()]);
    });
    afterAll(() => link?.stop());
    beforeEach(() => link.clear());

    async function expectEqual(): Promise<void> {
      expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
      expect(await expiriesOf(link.target)).toEqual(await expiriesOf(link.source));
    }

    async function onBoth(...args: [string, ...(string | number)[]]): Promise<void> {
      await Promise.all([link.source, link.target].map(({ client }) => client.call(...args)));
    }

    describe.each([
      ['as dumped', false],
      ['by commands', true],
    ])('the whole key, %s', (_form, byCommands) => {
      const reconcile = (sides = link.sides): Promise<KeyResult> => {
        const memory = new LinkMemory(sides);
        if (byCommands) memory.payloadVersionRefused();
        return reconcileOne({ ...sides, memory }, 'k');
      };

      test.each([
        ['is missing', async () => {}],
        ['has other values', async () => void (await link.target.client.hset('k', 'a', 'old', 'other', 'x'))],
        ['lacks an expiry', async () => void (await link.target.client.hset('k', 'a', '1', 'b', '2', 'c', '3'))],
        [
          'has another expiry',
          async () => {
            await link.target.client.hset('k', 'a', '1', 'b', '2', 'c', '3');
            await expireField(link.target, 'a', at + 60_000);
            await expireField(link.target, 'c', at);
          },
        ],
      ])('that %s on the target gets the source’s values and expiries', async (_what, damage) => {
        await link.source.client.hset('k', 'a', '1', 'b', '2', 'c', '3');
        await expireField(link.source, 'a', at);
        await expireField(link.source, 'b', at + 1);
        await damage();
        expect(await reconcile()).toMatchObject({ outcome: 'repaired', action: 'restored' });
        await expectEqual();
        expect(await reconcile()).toEqual({ outcome: 'equal' });
      });

      test('of thousands of fields with one expiry or several', async () => {
        const fields = Array.from({ length: 2_500 }, (_, index) => `f${index}`);
        await link.source.client.hset('k', ...fields.flatMap((field) => [field, 'v']));
        await link.source.client.call('HPEXPIREAT', 'k', at, 'FIELDS', 2_000, ...fields.slice(0, 2_000));
        for (const [index, field] of fields.slice(2_000, 2_050).entries())
          await expireField(link.source, field, at + index);
        await reconcile();
        await expectEqual();
      });

      test('does not bring back a field that expires between read and write', async () => {
        await link.source.client.hset('k', 'a', '1', 'b', '2');
        await expireField(link.source, 'a', Date.now() + 30);
        const target = intercept(link.sides.target, { 'before repair': once(() => sleep(60)) });
        await reconcile({ ...link.sides, target });
        expect(await link.target.client.hgetall('k')).toEqual({ b: '2' });
        await expectEqual();
      });

      test('is gone when all of its fields expire between read and write', async () => {
        await link.source.client.hset('k', 'a', '1');
        await expireField(link.source, 'a', Date.now() + 30);
        await link.target.client.hset('k', 'a', 'old');
        const target = intercept(link.sides.target, { 'before repair': once(() => sleep(60)) });
        await reconcile({ ...link.sides, target });
        expect(await link.target.client.hgetall('k')).toEqual({});
      });

      test('is empty on the target, too, where the source has not yet swept its expired fields', async () => {
        await link.source.client.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
        try {
          await link.source.client.hset('k', 'a', '1');
          await expireField(link.source, 'a', Date.now() + 5);
          await link.target.client.hset('k', 'a', 'old');
          await eventually(async () => expect(await link.source.client.hget('k', 'a')).toBeNull());
          await reconcile();
          expect(await link.target.client.hgetall('k')).toEqual({});
        } finally {
          await link.source.client.call('DEBUG', 'SET-ACTIVE-EXPIRE', '1');
        }
      });

      test('that only waits for an expiry is equal each time, with nothing written', async () => {
        await onBoth('HSET', 'k', 'a', '1', 'b', '2');
        await onBoth('HPEXPIREAT', 'k', at, 'FIELDS', '1', 'a');
        await resetWrites(link.target);
        for (let times = 0; times < 3; times++) {
          expect(await reconcile()).toEqual({ outcome: 'equal' });
          await sleep(5);
        }
        expect(await writesOn(link.target)).toEqual({});
      });
    });

    describe('a field alone', () => {
      test.each([
        ['that is missing comes with its expiry', async () => {}],
        ['of another value gets value and expiry', async () => void (await link.target.client.hset('k', 'a', 'old'))],
        ['that lacks its expiry gets it', async () => void (await link.target.client.hset('k', 'a', '1'))],
        [
          'of another expiry gets it',
          async () => {
            await link.target.client.hset('k', 'a', '1');
            await expireField(link.target, 'a', at + 60_000);
          },
        ],
      ])('%s, and nothing else is touched', async (_what, damage) => {
        await onBoth('HSET', 'k', 'other', 'x');
        await onBoth('HPEXPIREAT', 'k', at + 5, 'FIELDS', '1', 'other');
        await link.target.client.hset('k', 'more', 'only here');
        await link.source.client.hset('k', 'a', '1', 'more', 'another value');
        await expireField(link.source, 'a', at);
        await damage();
        await resetWrites(link.target);
        expect(await link.reconcile('k', named('a'))).toMatchObject({
          outcome: 'repaired',
          action: 'members',
          bytes: 1,
        });
        expect(await writesOn(link.target)).toEqual({ hset: 1, hpexpireat: 1 });
        expect(await link.target.client.hgetall('k')).toEqual({ a: '1', other: 'x', more: 'only here' });
        expect(await expiriesOf(link.target)).toEqual({ a: at, other: at + 5, more: -1 });
        expect(await link.reconcile('k', named('a'))).toEqual({ outcome: 'equal' });
      });

      test('loses an expiry that the source has no more', async () => {
        await onBoth('HSET', 'k', 'a', '1', 'b', '2');
        await expireField(link.target, 'a', at);
        expect(await link.reconcile('k', named('a'))).toMatchObject({ outcome: 'repaired' });
        await expectEqual();
      });

      test.each([
        [100, 'equal'],
        [101, 'repaired'],
      ])('whose expiry is %i ms off the source’s is %s, under a tolerance of 100 ms', async (apart, outcome) => {
        await onBoth('HSET', 'k', 'a', '1');
        await expireField(link.source, 'a', at);
        for (const expiry of [at - apart, at + apart]) {
          await expireField(link.target, 'a', expiry);
          expect(await link.reconcile('k', named('a'))).toMatchObject({ outcome });
        }
      });

      test('that expires between read and write is not brought back, and takes no expiry of the key along', async () => {
        await link.source.client.hset('k', 'a', '1', 'b', '2');
        await link.target.client.hset('k', 'a', 'old');
        await onBoth('PEXPIREAT', 'k', at);
        await expireField(link.source, 'a', Date.now() + 30);
        const target = intercept(link.sides.target, { 'before repair': once(() => sleep(60)) });
        await reconcileOne({ ...link.sides, target }, 'k', named('a', 'b'));
        expect(await link.target.client.hgetall('k')).toEqual({ b: '2' });
        await expectEqual();
      });

      test('that got an expiry on the target after the comparison is left alone', async () => {
        await onBoth('HSET', 'k', 'a', 'old');
        await link.source.client.hset('k', 'a', 'new');
        const live = async () => {
          await onBoth('HSET', 'k', 'a', 'old');
          await onBoth('HPEXPIREAT', 'k', at, 'FIELDS', '1', 'a');
        };
        await resetWrites(link.target);
        const target = intercept(link.sides.target, { 'before repair': once(live) });
        await reconcileOne({ ...link.sides, target }, 'k', named('a'));
        expect(await writesOn(link.target)).toEqual({ hset: 1, hpexpireat: 1 });
        await expectEqual();
      });
    });
  });
}

const provideOlder = {
  'Redis 7': async () => 'redis-server',
  'Redis 6.2': provideRedis62,
} as const;

for (const [title, provide] of Object.entries(provideOlder)) {
  const both = async (provision: Parameters<typeof provideValkey9>[0]) => ({
    newer: await provideValkey9(provision),
    older: await provide(provision),
  });
  await describeWith(`fields that expire, towards a target of ${title}`, both, (binaries) => {
    let source: RedisServer;
    let target: RedisServer;
    let sides: TestLink['sides'];
    beforeAll(async () => {
      [source, target] = await Promise.all([
        startRedis([], { binary: binaries.newer }),
        startRedis([], { binary: binaries.older }),
      ]);
      sides = {
        source: connectRedis({ url: source.url }, { name: 'source' }),
        target: connectRedis({ url: target.url }, { name: 'target' }),
      };
    });
    afterAll(async () => {
      await Promise.all([sides?.source.close(), sides?.target.close()]);
      await Promise.all([source?.stop(), target?.stop()]);
    });
    beforeEach(() => Promise.all([source.client.flushall(), target.client.flushall()]));

    test.each([
      ['the whole key', {}],
      ['a field', named('a')],
    ])('%s is Unsupported, with what to do, and nothing is written', async (_scope, scope) => {
      await source.client.hset('k', 'a', 'new', 'b', '2');
      await target.client.hset('k', 'a', 'old');
      await expireField(source, 'a', at);
      const result = await reconcileOne(sides, 'k', scope);
      expect(result).toMatchObject({
        outcome: 'failed',
        error: { type: 'Unsupported', stage: 'write' },
      });
      expect(result.outcome === 'failed' && result.error.message).toBe(
        `target (127.0.0.1:${target.port}) is too old for a hash in which single fields expire; upgrade it (Redis 7.4, Valkey 9), or ` +
          'take the expiry from these fields on the source (HPERSIST)',
      );
      expect(await target.client.hgetall('k')).toEqual({ a: 'old' });
      expect(await keysOf(target.client)).toEqual(['k']);
    });

    test.each([
      ['a large one', 6_000],
      ['a small one', 1],
    ])('a large value of another type is not given up for %s', async (_size, fields) => {
      const numbers = Array.from({ length: 10_000 }, (_, index) => `${index}`);
      await source.client.hset('k', ...numbers.slice(0, fields).flatMap((number) => [`f${number}`, number]));
      await expireField(source, 'f0', at);
      await target.client.rpush('k', ...numbers);
      const options = { ...DEFAULT_OPTIONS, onProgress: () => {} };
      const result = await reconcileLargeKey(sides, { key: Buffer.from('k') }, options);
      expect(result).toMatchObject({ outcome: 'failed', error: { type: 'Unsupported', stage: 'write' } });
      expect(await target.client.llen('k')).toBe(numbers.length);
      expect(await keysOf(target.client)).toEqual(['k']);
    });

    test('a field that does not expire is repaired alone, beside one that does', async () => {
      await source.client.hset('k', 'a', 'new', 'b', '2');
      await target.client.hset('k', 'a', 'new', 'b', 'old');
      await expireField(source, 'a', at);
      expect(await reconcileOne(sides, 'k', named('b'))).toMatchObject({ outcome: 'repaired', action: 'members' });
      expect(await target.client.hgetall('k')).toEqual({ a: 'new', b: '2' });
    });

    test('a field that has expired is removed', async () => {
      await source.client.hset('k', 'a', '1', 'b', '2');
      await target.client.hset('k', 'a', '1', 'b', '2');
      await expireField(source, 'a', 1);
      expect(await reconcileOne(sides, 'k', named('a'))).toMatchObject({ outcome: 'repaired' });
      expect(await target.client.hgetall('k')).toEqual({ b: '2' });
    });
  });
}
