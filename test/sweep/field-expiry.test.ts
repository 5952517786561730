/** Where fields of hashes expire, a sweep counts only what cannot have gone by itself. */
import { expect, onTestFinished, test } from 'vitest';
import type { LinkSides } from '../../src/engine/index.js';
import type { RedisPort } from '../../src/redis/index.js';
import { provideRedis74, provideValkey9 } from '../../src/stack/programs/index.js';
import { portWith, startLink, type TestLink } from '../engine/link.js';
import { eventually } from '../support/eventually.js';
import { describeWith } from '../support/services.js';
import { swept } from './bed.js';

const LINES = { 'Redis 7.4': provideRedis74, 'Valkey 9': provideValkey9 };
const FOUND = { outcome: 'divergent', differing: { extra: 1 }, targetOnly: 'scanned' };

for (const [line, provide] of Object.entries(LINES)) {
  await describeWith(`${line}: counting keys`, provide, (binary) => {
    /** Servers that take away nothing by themselves. */
    async function startOwn(): Promise<TestLink> {
      const lazy = ['--enable-debug-command', 'local'];
      const own = await startLink(lazy, lazy, { source: { binary }, target: { binary } });
      onTestFinished(() => own.stop());
      for (const server of [own.source, own.target]) await expiring(server, '0');
      return own;
    }

    async function expiring({ client }: TestLink['source'], active: '0' | '1'): Promise<void> {
      await client.call('DEBUG', 'SET-ACTIVE-EXPIRE', active);
    }

    async function fill({ source, target }: TestLink, at: number): Promise<void> {
      for (const { client } of [source, target]) {
        await client.hset('h', 'f', 'v', 'g', 'v');
        await client.call('HPEXPIREAT', 'h', at, 'FIELDS', 2, 'f', 'g');
      }
    }

    /** Equal when it is met, and gone on the target alone when keys are counted. */
    function goneOnTarget({ sides, target }: TestLink): LinkSides {
      const digestKeys: RedisPort['digestKeys'] = async (keys) => {
        const digest = await sides.target.digestKeys(keys);
        await expiring(target, '1');
        await eventually(async () => expect(await target.client.dbsize()).toBe(1));
        return digest;
      };
      return { ...sides, target: portWith(sides.target, { digestKeys }) };
    }

    test('proves nothing where the last field of a hash expires: the hash goes with it', async () => {
      const own = await startOwn();
      await fill(own, Date.now() + 10_000);
      await own.target.client.set('extra', 'v');
      const { summary } = await swept(goneOnTarget(own));
      expect(await own.source.client.dbsize()).toBe(1);
      expect(summary).toMatchObject(FOUND);
    });

    test('proves nothing where all fields of a hash have expired, and the server still counts it', async () => {
      const own = await startOwn();
      await fill(own, Date.now() + 5_000);
      await own.target.client.set('extra', 'v');
      // The field that is read is taken away by that, and with its last one the hash would be.
      for (const { client } of [own.source, own.target]) {
        await eventually(async () => expect(await client.hget('h', 'g')).toBeNull());
        expect(await client.exists('h')).toBe(1);
      }
      const { summary } = await swept(goneOnTarget(own));
      expect(await own.source.client.dbsize()).toBe(1);
      expect(summary).toMatchObject(FOUND);
    });

    test('is a proof where fields expire in an hour', async () => {
      const own = await startOwn();
      await fill(own, Date.now() + 3_600_000);
      expect((await swept(own.sides)).summary).toMatchObject({ outcome: 'equal', targetOnly: 'counted' });
    });
  });
}
