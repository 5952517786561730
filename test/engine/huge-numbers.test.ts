/**
 * Integers of Redis have 64 bits, numbers of Lua and of JavaScript 53: what lies beyond is neither
 * taken for a change nor lost.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type KeyResult, LinkMemory, reconcileLargeKey } from '../../src/engine/index.js';
import { type Provision, provideRedis62, provideValkey9 } from '../../src/stack/programs/index.js';
import { describeWith } from '../support/services.js';
import { DEFAULT_OPTIONS, reconcileOne, startLink, type TestLink } from './link.js';

const LONGEST = '9223372036854775807';
const MOMENTS = [LONGEST, '9223372036854775806', '99999999999999000', '9007199254740993', '9007199254740991'];
/** How exactly so late an expiry is brought over: half of what lies between two doubles there. */
const within = (moment: string) => BigInt(Math.ceil(Number(moment) / 2 ** 53));

const SMALL = { elements: 100, bytes: 20_000 };

type Pair = (provision: Provision) => Promise<{ source: string; target: string }>;
const provideRedis = async () => 'redis-server';
const PAIRS: Readonly<Record<string, Pair>> = {
  'Redis 7': async () => ({ source: 'redis-server', target: 'redis-server' }),
  'Redis 7 and Redis 6.2': async (to) => ({ source: await provideRedis(), target: await provideRedis62(to) }),
  'Redis 6.2 and Redis 7': async (to) => ({ source: await provideRedis62(to), target: await provideRedis() }),
  'Valkey 9 and Redis 7': async (to) => ({ source: await provideValkey9(to), target: await provideRedis() }),
};

for (const [title, provide] of Object.entries(PAIRS)) {
  await describeWith(`${title}: numbers beyond 2^53`, provide, (binaries) => {
    let link: TestLink;
    beforeAll(async () => {
      const options = { source: { binary: binaries.source }, target: { binary: binaries.target } };
      link = await startLink([], [], { ...options, largeValues: SMALL });
    });
    afterAll(() => link?.stop());
    beforeEach(() => link.clear());

    /** As digits: ioredis would round it. */
    async function expiryAt(side: 'source' | 'target'): Promise<bigint> {
      const client = link[side].client.duplicate({ stringNumbers: true });
      try {
        const before = BigInt(Date.now());
        return BigInt((await client.pttl('k')) as unknown as string) + before;
      } finally {
        client.disconnect();
      }
    }

    async function reconcileAny(): Promise<KeyResult> {
      const result = await reconcileOne(link.sides, 'k');
      if (result.outcome !== 'large') return result;
      return reconcileLargeKey(link.sides, { key: Buffer.from('k') }, { ...DEFAULT_OPTIONS, onProgress: () => {} });
    }

    const VALUES = {
      string: ['SET', 'k', 'v'],
      'large string': ['SET', 'k', 'v'.repeat(2 * SMALL.bytes)],
      'large list': ['RPUSH', 'k', ...Array.from({ length: 2 * SMALL.elements }, (_, i) => `element ${i}`)],
      'large hash': ['HSET', 'k', ...Array.from({ length: 4 * SMALL.elements }, (_, i) => `field ${i}`)],
    };
    describe.each(Object.entries(VALUES))('a %s', (_name, [command, ...args]) => {
      test.each(MOMENTS)('that expires at %s is repaired, and equal afterwards', async (moment) => {
        for (const damage of ['missing', 'without expiry', 'expires sooner', 'expires at the end of time'] as const) {
          await link.clear();
          await link.source.client.call(command!, ...args);
          await link.source.client.call('PEXPIREAT', 'k', moment);
          if (damage !== 'missing') await link.target.client.call(command!, ...args);
          if (damage === 'expires sooner') await link.target.client.call('PEXPIREAT', 'k', Date.now() + 3_600_000);
          if (damage === 'expires at the end of time') await link.target.client.call('PEXPIREAT', 'k', LONGEST);
          const expected = damage === 'expires at the end of time' && moment.length > 18 ? 'equal' : 'repaired';
          expect(await reconcileAny(), damage).toMatchObject({ outcome: expected });
          const apart = (await expiryAt('source')) - (await expiryAt('target'));
          // The rest is for the time between two questions.
          expect(apart < 0n ? -apart : apart).toBeLessThanOrEqual(within(moment) + 1_000n);
          expect(await reconcileAny(), damage).toEqual({ outcome: 'equal' });
        }
      });
    });

    test('named members beside such an expiry are repaired alone', async () => {
      for (const side of ['source', 'target'] as const) {
        await link[side].client.hset('k', 'a', side, 'b', 'x');
        await link[side].client.call('PEXPIREAT', 'k', LONGEST);
      }
      const scope = { kind: 'members', members: [Buffer.from('a')] } as const;
      expect(await reconcileOne(link.sides, 'k', { scope })).toMatchObject({ outcome: 'repaired', action: 'members' });
      expect(await reconcileOne(link.sides, 'k')).toEqual({ outcome: 'equal' });
    });

    describe.each([
      ['small', 3],
      ['large', 2 * SMALL.elements],
    ])('a %s stream', (_size, entries) => {
      async function fill(side: 'source' | 'target', count: string): Promise<void> {
        const { client } = link[side];
        for (let id = 1; id <= entries; id++) await client.xadd('k', `${id}-1`, 'f', 'v');
        await client.xgroup('CREATE', 'k', 'g', '0');
        await client.xreadgroup('GROUP', 'g', 'ann', 'COUNT', 2, 'STREAMS', 'k', '>');
        await client.call('XCLAIM', 'k', 'g', 'ann', '0', '1-1', 'RETRYCOUNT', count);
      }

      test.each([LONGEST, '9223372036854770000', '123456789012345678'])(
        'with an entry delivered %s times is repaired, and equal afterwards',
        async (count) => {
          await fill('source', count);
          await fill('target', '100000000000001');
          expect(await reconcileAny()).toMatchObject({ outcome: 'repaired' });
          const client = link.target.client.duplicate({ stringNumbers: true });
          const [[, , , delivered]] = (await client.xpending('k', 'g', '-', '+', 1)) as [
            [string, string, string, string],
          ];
          client.disconnect();
          const apart = BigInt(delivered) - BigInt(count);
          expect(apart < 0n ? -apart : apart).toBeLessThanOrEqual(within(count));
          expect(await reconcileAny()).toEqual({ outcome: 'equal' });
        },
      );

      test('with an entry delivered 10^14 times is told from one delivered once more', async () => {
        await fill('source', '100000000000001');
        await fill('target', '100000000000002');
        expect(await reconcileAny()).toMatchObject({ outcome: 'repaired' });
        expect(await reconcileAny()).toEqual({ outcome: 'equal' });
      });
    });
  });
}

await describeWith('fields that expire beyond 2^53', provideValkey9, (binary) => {
  let link: TestLink;
  beforeAll(async () => {
    link = await startLink([], [], { source: { binary }, target: { binary } });
  });
  afterAll(() => link?.stop());
  beforeEach(() => link.clear());

  const expireField = (side: 'source' | 'target', at: string) =>
    link[side].client.call('HPEXPIREAT', 'k', at, 'FIELDS', '1', 'a');

  test.each(MOMENTS)('%s: are repaired as dumped, by commands and alone, and equal afterwards', async (moment) => {
    const scope = { kind: 'members', members: [Buffer.from('a')] } as const;
    for (const form of [{}, { byCommands: true }, { scope }]) {
      await link.clear();
      await link.source.client.hset('k', 'a', '1', 'b', '2');
      await link.target.client.hset('k', 'a', '1', 'b', '2');
      await expireField('source', moment);
      const memory = new LinkMemory(link.sides);
      const reconcile = () => {
        if ('byCommands' in form) memory.payloadVersionRefused();
        return reconcileOne({ ...link.sides, memory }, 'k', form);
      };
      expect(await reconcile()).toMatchObject({ outcome: 'repaired' });
      const client = link.target.client.duplicate({ stringNumbers: true });
      const [at] = (await client.call('HPEXPIRETIME', 'k', 'FIELDS', '1', 'a')) as [string];
      client.disconnect();
      const apart = BigInt(at) - BigInt(moment);
      expect(apart < 0n ? -apart : apart).toBeLessThanOrEqual(within(moment));
      expect(await reconcile()).toEqual({ outcome: 'equal' });
    }
  });
});
