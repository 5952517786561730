/**
 * Links from and to a Cluster: the same result as between two servers, whatever becomes of its
 * slots meanwhile.
 */
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { KeyRequest } from '../../src/engine/index.js';
import { provideRedis62 } from '../../src/stack/programs/index.js';
import { generatedCases } from '../support/cases.js';
import { compareRedis } from '../support/compare.js';
import { describeWith } from '../support/services.js';
import { anyWrite, type Command, KEYS } from './random-writes.js';
import { reconcileAnySize, type Side, startSide, type Topology } from './topology.js';

const PAIRS: readonly [Topology, Topology][] = [
  [3, 'one server'],
  ['one server', 2],
  [2, 3],
];

/** Small, so that many of the random values are large. */
const LARGE_VALUES = { elements: 60, bytes: 1_024 };

describe.each(PAIRS)('from a Cluster or server (%s) to another (%s)', suite);

await describeWith('a Cluster of another version', provideRedis62, (old) => {
  describe('as the target', () => suite('one server', 2, { target: old }));
  describe('as the source', () => suite(2, 'one server', { source: old }));
});

function suite(
  sourceTopology: Topology,
  targetTopology: Topology,
  binaries: { readonly source?: string; readonly target?: string } = {},
) {
  let source: Side;
  let target: Side;
  beforeAll(async () => {
    const options = (binary?: string) => ({ largeValues: LARGE_VALUES, ...(binary !== undefined && { binary }) });
    source = await startSide('source', sourceTopology, options(binaries.source));
    target = await startSide('target', targetTopology, options(binaries.target));
  });
  afterAll(async () => {
    await Promise.all([source?.stop(), target?.stop()]);
  });

  const sides = () => ({ source: source.port, target: target.port });

  /** Refused on a key of another type, or with keys of two slots, as many are. */
  async function write({ client }: Side, [name, ...args]: Command): Promise<void> {
    await client.callBuffer(name, ...args).catch(() => {});
  }

  async function expectEqual(): Promise<void> {
    expect(await compareRedis(source.client, target.client)).toEqual([]);
  }

  test('any keys become equal, whatever their type, size, expiry and what was lost', { timeout: 600_000 }, async () => {
    const history = fc.array(
      fc.tuple(anyWrite, fc.constantFrom<'both' | 'source' | 'target'>('both', 'source', 'target')),
      {
        minLength: 5,
        maxLength: 40,
      },
    );
    let large = 0;
    const run = async (writes: [Command, string][]) => {
      await Promise.all([source.clear(), target.clear()]);
      for (const [command, where] of writes) {
        if (where !== 'target') await write(source, command);
        if (where !== 'source') await write(target, command);
      }
      const requests = KEYS.map((key): KeyRequest => ({ key }));
      for (const state of await source.port.inspect(KEYS))
        if ('digest' in state && state.digest === 'large') large += 1;
      const results = await reconcileAnySize(sides(), requests);
      expect(results.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
      await expectEqual();
      const again = await reconcileAnySize(sides(), requests);
      expect(again.filter(({ outcome }) => outcome !== 'equal')).toEqual([]);
    };
    const numRuns = generatedCases(40);
    await fc.assert(fc.asyncProperty(history, run), { numRuns });
    expect(large).toBeGreaterThan(numRuns / 20);
  });

  test('thousands of keys, some of them wrong, in one call', async () => {
    await Promise.all([source.clear(), target.clear()]);
    const keys = Array.from({ length: 3_000 }, (_, index) => `key:${index}`);
    await Promise.all(keys.map((key) => source.client.set(key, `value of ${key}`)));
    await Promise.all(keys.filter((_, index) => index % 3 > 0).map((key) => target.client.set(key, `value of ${key}`)));
    await Promise.all(keys.filter((_, index) => index % 3 > 1).map((key) => target.client.set(key, 'stale')));
    await target.client.set('gone', 'v');
    const requests = [...keys, 'gone'].map((key) => ({ key: Buffer.from(key) }));
    const results = await reconcileAnySize(sides(), requests);
    expect(results.map(({ outcome }) => outcome)).toEqual([
      ...keys.map((_, index) => (index % 3 === 1 ? 'equal' : 'repaired')),
      'repaired',
    ]);
    await expectEqual();
  });

  test('members that are named are repaired without the others', async () => {
    await Promise.all([source.clear(), target.clear()]);
    const keys = Array.from({ length: 60 }, (_, index) => `hash:${index}`);
    for (const key of keys) {
      await source.client.hset(key, { a: '1', b: '2', c: '3' });
      await target.client.hset(key, { a: '0', b: '0', d: '3' });
    }
    const scope = { kind: 'members' as const, members: [Buffer.from('a')] };
    const results = await reconcileAnySize(
      sides(),
      keys.map((key) => ({ key: Buffer.from(key), scope })),
    );
    expect(results).toEqual(keys.map(() => ({ outcome: 'repaired', action: 'members', type: 'hash', bytes: 1 })));
    expect(await target.client.hgetall(keys[0]!)).toEqual({ a: '1', b: '0', d: '3' });
  });

  test.each(['}', 'a}b', '{', '{}', '{}tag', '{tag}', '{tag}a}', 'b{tag', Buffer.from([0xff, 0x7d, 0x00])])(
    'a large value under the key %s, braces or not, is built beside it in its slot',
    async (name) => {
      await Promise.all([source.clear(), target.clear()]);
      const key = Buffer.from(name as Buffer);
      const elements = Array.from({ length: 500 }, (_, index) => `element ${index}`);
      await source.client.rpush(key, ...elements);
      await target.client.rpush(key, ...elements.slice(0, 300));
      expect(await reconcileAnySize(sides(), [{ key }])).toMatchObject([{ outcome: 'repaired', action: 'restored' }]);
      await expectEqual();
    },
  );
}
