/** A large hash whose fields have expired, but which the server has not yet taken away. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { reconcileLargeKey } from '../../src/engine/index.js';
import { provideRedis74, provideRedis82, provideValkey9 } from '../../src/stack/programs/index.js';
import { eventually } from '../support/eventually.js';
import { describeWith } from '../support/services.js';
import { DEFAULT_OPTIONS, reconcileOne, startLink, type TestLink } from './link.js';

const LARGE = { elements: 100, bytes: 20_000 };
const FIELDS = Array.from({ length: 1_200 }, (_, index) => `field ${index}`);

const LINES = { 'Redis 7.4': provideRedis74, 'Redis 8.2': provideRedis82, 'Valkey 9': provideValkey9 };

for (const [title, provide] of Object.entries(LINES)) {
  await describeWith(`${title}: a large hash with expired fields`, provide, (binary) => {
    let link: TestLink;
    beforeAll(async () => {
      const lazy = ['--enable-debug-command', 'yes'];
      link = await startLink(lazy, lazy, { source: { binary }, target: { binary }, largeValues: LARGE });
    });
    afterAll(() => link?.stop());
    beforeEach(async () => {
      await link.clear();
      for (const { client } of [link.source, link.target]) await client.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
    });

    async function fill(side: 'source' | 'target', fields: string[], value = side as string): Promise<void> {
      await link[side].client.hset('k', ...fields.flatMap((field) => [field, value]));
    }

    async function letExpire(side: 'source' | 'target', fields: string[]): Promise<void> {
      const { client } = link[side];
      // Relative, so that none has expired when the command comes, and is taken away by it.
      await client.call('HPEXPIRE', 'k', '50', 'FIELDS', fields.length, ...fields);
      await eventually(async () => expect(await client.hget('k', fields.at(-1)!)).toBeNull());
      expect(await client.exists('k')).toBe(1);
    }

    /** @param isLarge false: by now the server may have noticed that nothing is left */
    async function reconcile({ isLarge = true, allowDelete = false } = {}) {
      const result = await reconcileOne(link.sides, 'k');
      if (!isLarge && result.outcome !== 'large') return result;
      expect(result).toEqual({ outcome: 'large' });
      const request = { key: Buffer.from('k'), allowDelete };
      return reconcileLargeKey(link.sides, request, { ...DEFAULT_OPTIONS, onProgress: () => {} });
    }

    test('all of them, and nothing on the target: equal', async () => {
      await fill('source', FIELDS);
      await letExpire('source', FIELDS);
      expect(await reconcile()).toEqual({ outcome: 'equal' });
      expect(await link.target.client.exists('k')).toBe(0);
    });

    test.each([
      ['a large hash', FIELDS],
      ['a small hash', ['field 1', 'other']],
    ])('all of them, and %s on the target: gone there, too', async (_what, fields) => {
      await fill('source', FIELDS);
      await fill('target', fields);
      await letExpire('source', FIELDS);
      expect(await reconcile()).toMatchObject({ outcome: 'repaired' });
      expect(await link.target.client.hgetall('k')).toEqual({});
      expect(await reconcile({ isLarge: false })).toEqual({ outcome: 'equal' });
    });

    test('all of them, and another type on the target: gone there, too', async () => {
      await fill('source', FIELDS);
      await link.target.client.rpush('k', 'a');
      await letExpire('source', FIELDS);
      expect(await reconcile()).toMatchObject({ outcome: 'repaired' });
      expect(await link.target.client.exists('k')).toBe(0);
    });

    test('all of them, and another type on the target, by a source that looks emptied: it stays', async () => {
      await fill('source', FIELDS);
      await link.target.client.rpush('k', 'a');
      await link.target.client.mset(
        Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`other ${index}`, 'x'])),
      );
      await letExpire('source', FIELDS);
      expect(await reconcile()).toMatchObject({ outcome: 'failed', error: { type: 'SourceSuspicious' } });
      expect(await link.target.client.lrange('k', 0, -1)).toEqual(['a']);
      expect(await reconcile({ allowDelete: true })).toMatchObject({ outcome: 'repaired' });
      expect(await link.target.client.exists('k')).toBe(0);
    });

    test('on both sides: equal', async () => {
      for (const side of ['source', 'target'] as const) {
        await fill(side, FIELDS);
        await letExpire(side, FIELDS);
      }
      expect(await reconcile()).toEqual({ outcome: 'equal' });
    });

    test('on the target alone: they are put back', async () => {
      for (const side of ['source', 'target'] as const) await fill(side, FIELDS);
      await letExpire('target', FIELDS);
      expect(await reconcile()).toMatchObject({ outcome: 'repaired' });
      expect(await link.target.client.hgetall('k')).toEqual(await link.source.client.hgetall('k'));
      expect(await reconcile()).toEqual({ outcome: 'equal' });
    });

    test('some of them: the others are brought over', async () => {
      await fill('source', FIELDS);
      await letExpire('source', FIELDS.slice(0, 1_000));
      expect(await reconcile()).toMatchObject({ outcome: 'repaired' });
      expect(await link.target.client.hgetall('k')).toEqual(await link.source.client.hgetall('k'));
      expect(await reconcile()).toEqual({ outcome: 'equal' });
    });

    test('all of them, and an expiry of the key', async () => {
      await fill('source', FIELDS);
      await link.source.client.pexpireat('k', Date.now() + 3_600_000);
      await letExpire('source', FIELDS);
      expect(await reconcile()).toEqual({ outcome: 'equal' });
    });
  });
}
