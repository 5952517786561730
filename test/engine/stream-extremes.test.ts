/** Streams at the bounds of what Redis takes, and what it counts beside them. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type KeyResult, LinkMemory, reconcileLargeKey } from '../../src/engine/index.js';
import { type Provision, provideRedis62, provideValkey9 } from '../../src/stack/programs/index.js';
import { compareRedis } from '../support/compare.js';
import { keysOf } from '../support/keys.js';
import { describeWith } from '../support/services.js';
import { DEFAULT_OPTIONS, reconcileOne, startLink, type TestLink } from './link.js';

const SMALL = { elements: 100, bytes: 1_048_576 };
const GREATEST = '18446744073709551615-18446744073709551615';

type Pair = (provision: Provision) => Promise<{ source: string; target: string }>;
const PAIRS: Readonly<Record<string, Pair>> = {
  'Redis 7': async () => ({ source: 'redis-server', target: 'redis-server' }),
  'Redis 7 and Redis 6.2': async (to) => ({ source: 'redis-server', target: await provideRedis62(to) }),
  'Valkey 9 and Redis 7': async (to) => ({ source: await provideValkey9(to), target: 'redis-server' }),
};

for (const [title, provide] of Object.entries(PAIRS)) {
  await describeWith(`${title}: streams`, provide, (binaries) => {
    let link: TestLink;
    beforeAll(async () => {
      const options = { source: { binary: binaries.source }, target: { binary: binaries.target } };
      link = await startLink([], [], { ...options, largeValues: SMALL });
    });
    afterAll(() => link?.stop());
    beforeEach(() => link.clear());

    async function reconcile(form: 'as dumped' | 'by commands'): Promise<KeyResult> {
      const sides = { ...link.sides, memory: new LinkMemory(link.sides) };
      if (form === 'by commands') sides.memory.payloadVersionRefused();
      const result = await reconcileOne(sides, 'k');
      if (result.outcome !== 'large') return result;
      return reconcileLargeKey(sides, { key: Buffer.from('k') }, { ...DEFAULT_OPTIONS, onProgress: () => {} });
    }

    async function add(side: 'source' | 'target', count: number): Promise<void> {
      for (let id = 1; id <= count; id++) await link[side].client.xadd('k', `${id}-1`, 'f', 'v');
    }

    async function expectRepaired(form: 'as dumped' | 'by commands'): Promise<void> {
      expect(await reconcile(form)).toMatchObject({ outcome: 'repaired' });
      expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
      expect(await reconcile(form)).toEqual({ outcome: 'equal' });
      expect(await keysOf(link.target.client)).toHaveLength(1);
    }

    describe.each([
      ['small', 'as dumped', 3],
      ['small', 'by commands', 3],
      ['large', 'as dumped', 2 * SMALL.elements],
    ] as const)('a %s one, %s', (_size, form, count) => {
      test.each([3_998, 3_999, 12_000])('with an entry of %i pairs', async (pairs) => {
        const fields = Array.from({ length: 2 * pairs }, (_, index) => `${index}`);
        await add('source', count);
        await link.source.client.xadd('k', `${count + 1}-1`, ...fields);
        await link.source.client.xadd('k', `${count + 2}-1`, 'f', 'v');
        await expectRepaired(form);
        // Now the target has the entry as well, beside others that differ.
        await link.target.client.xdel('k', `${count + 2}-1`);
        await expectRepaired(form);
        await link.target.client.xdel('k', '1-1');
        await expectRepaired(form);
        for (const { client } of [link.source, link.target]) await client.xgroup('CREATE', 'k', 'g', '0');
        await link.source.client.xreadgroup('GROUP', 'g', 'ann', 'COUNT', count + 1, 'STREAMS', 'k', '>');
        await link.source.client.xdel('k', '2-1');
        await expectRepaired(form);
      });

      test('that ends in the greatest ID, pending too', async () => {
        await add('source', count);
        await link.source.client.xadd('k', GREATEST, 'f', 'v');
        await expectRepaired(form);
        await link.source.client.xgroup('CREATE', 'k', 'g', '0');
        await link.source.client.xreadgroup('GROUP', 'g', 'ann', 'COUNT', 2 * count, 'STREAMS', 'k', '>');
        await expectRepaired(form);
        await link.source.client.xdel('k', GREATEST);
        await expectRepaired(form);
        await link.target.client.xdel('k', '1-1');
        await expectRepaired(form);
      });

      /** Before Redis 7 nobody counted that. */
      const accounting = async (side: 'source' | 'target') => {
        const { client } = link[side];
        const called = async (...args: [string, ...string[]]) => (await client.call(...args)) as unknown[];
        const entries = await called('XINFO', 'STREAM', 'k');
        const [group] = (await called('XINFO', 'GROUPS', 'k')) as unknown[][];
        const at = (list: unknown[], name: string) => list[list.indexOf(name) + 1];
        return {
          added: at(entries, 'entries-added'),
          deleted: at(entries, 'max-deleted-entry-id'),
          read: at(group!, 'entries-read'),
          lag: at(group!, 'lag'),
        };
      };

      if (title.includes('6.2')) return;
      describe('keeps what Redis counts of it', () => {
        test.each([
          ['trimmed', ['XTRIM', 'k', 'MAXLEN', '2']],
          ['trimmed to nothing', ['XTRIM', 'k', 'MAXLEN', '0']],
          ['with a deleted entry', ['XDEL', 'k', '2-1']],
          ['left alone', ['XLEN', 'k']],
          ['of unknown lag', ['XGROUP', 'SETID', 'k', 'g', '2-1']],
          [
            'of a count beyond 2^53',
            ['XSETID', 'k', '99999-1', 'ENTRIESADDED', '9223372036854775807', 'MAXDELETEDID', '0-0'],
          ],
        ])('%s', async (_how, command) => {
          const { client } = link.source;
          await add('source', count);
          await client.xgroup('CREATE', 'k', 'g', '0');
          await client.xreadgroup('GROUP', 'g', 'ann', 'COUNT', count - 1, 'STREAMS', 'k', '>');
          await client.call(command[0]!, ...command.slice(1));
          await expectRepaired(form);
          expect(await accounting('target')).toEqual(await accounting('source'));
        });
      });
    });
  });
}
