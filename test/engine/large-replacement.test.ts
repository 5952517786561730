/**
 * Large strings, lists and streams become equal, whatever differs, between all kinds of servers.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { replaceLargeKey } from '../../src/engine/large/replacement.js';
import type { KeyWatch, Range } from '../../src/redis/index.js';
import { provideRedis62 } from '../../src/stack/programs/index.js';
import { compareRedis } from '../support/compare.js';
import { keysOf } from '../support/keys.js';
import { describeWith } from '../support/services.js';
import {
  type Divergence,
  ELEMENTS,
  fillList,
  fillStream,
  LISTS,
  OF_ANY_TYPE,
  STREAMS,
  STRINGS,
  stringOf,
} from './large-values.js';
import { DEFAULT_OPTIONS, portWith, startLink, type TestLink, withMemory } from './link.js';
import { hookWatches } from './watched.js';

const KEY = Buffer.from('k');
const silent = () => {};

function replace({ sides }: Pick<TestLink, 'sides'>, options: { allowDelete?: boolean } = {}) {
  return replaceLargeKey(withMemory(sides), KEY, { ...DEFAULT_OPTIONS, ...options }, silent);
}

/**
 * Every divergence on a link: repaired by one round, then equal, and nothing else is left on the
 * target.
 */
function repairsAll(divergences: readonly Divergence[], start: () => Promise<TestLink>): void {
  let link: TestLink;
  beforeAll(async () => {
    link = await start();
  });
  afterAll(() => link?.stop());
  beforeEach(() => link.clear());

  test.each(divergences.map((divergence) => [divergence.name, divergence] as const))(
    '%s',
    async (_name, divergence) => {
      await Promise.all([divergence.fill(link.source.client), divergence.fill(link.target.client)]);
      expect(await replace(link)).toEqual({ outcome: 'equal' });
      await divergence.source?.(link.source.client);
      await divergence.target?.(link.target.client);
      expect(await compareRedis(link.source.client, link.target.client)).not.toEqual([]);

      expect(await replace(link, { allowDelete: true })).toMatchObject({ outcome: 'repaired' });
      expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
      expect(await keysOf(link.target.client)).toHaveLength(await link.source.client.dbsize());
      expect(await replace(link)).toEqual({ outcome: 'equal' });
    },
  );
}

describe('between two servers alike', () => {
  repairsAll([...OF_ANY_TYPE, ...STRINGS, ...LISTS, ...STREAMS], () => startLink());
});

describe('between servers that encode differently', () => {
  const source = ['--list-max-listpack-size', '4', '--stream-node-max-entries', '7'];
  const target = ['--list-max-listpack-size', '-5', '--list-compress-depth', '1', '--stream-node-max-bytes', '200'];
  repairsAll([...LISTS, ...STREAMS], () => startLink(source, target));
});

await describeWith('a source of Redis 7 and a target of Redis 6.2', provideRedis62, (binary) => {
  repairsAll([...OF_ANY_TYPE, ...LISTS, ...STREAMS], () => startLink([], [], { target: { binary } }));
});

await describeWith('a source of Redis 6.2 and a target of Redis 7', provideRedis62, (binary) => {
  repairsAll(STREAMS, () => startLink([], [], { source: { binary } }));
});

describe('what travels', () => {
  let link: TestLink;
  beforeAll(async () => {
    link = await startLink();
  });
  afterAll(() => link?.stop());
  beforeEach(() => link.clear());

  async function fetched(): Promise<ReadonlyMap<string, number>> {
    const { port, calls } = hookWatches(link.sides.source);
    const sides = { source: port, target: link.sides.target };
    expect(await replace({ sides })).toMatchObject({ outcome: 'repaired' });
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
    return calls;
  }

  test('of a string are the pieces that differ', async () => {
    for (const { client } of [link.source, link.target]) await client.set('k', stringOf(3_000_000));
    await link.target.client.setrange('k', 1_500_000, 'other');
    expect((await fetched()).get('readString')).toBe(1);
  });

  test.each([
    ['a lost LPUSH', () => link.source.client.lpush('k', 'head'), 1],
    ['a lost RPUSH', () => link.source.client.rpush('k', 'tail'), 1],
    ['a lost LREM', () => link.source.client.lrem('k', 1, 'element 2500'), 1],
    ['an element of the target alone', () => link.target.client.lpush('k', 'head'), undefined],
    ['a changed element', () => link.target.client.lset('k', 2_500, 'other'), 1],
  ])('of a list after %s are the ranges that differ', async (_name, diverge, ranges) => {
    for (const { client } of [link.source, link.target]) await fillList(client);
    await diverge();
    expect((await fetched()).get('readList')).toBe(ranges);
  });

  test('deep in a list is little with one script, for each command comes there from an end', async () => {
    for (const { client } of [link.source, link.target])
      await client.eval("for i = 1, 250000 do redis.call('RPUSH', 'k', i) end", 0);
    const asked: Range[] = [];
    const source = portWith(link.sides.source, {
      async watch(key) {
        const watch = (await link.sides.source.watch(key)) as KeyWatch;
        const digestList = watch.digestList.bind(watch);
        watch.digestList = (range) => {
          asked.push(range);
          return digestList(range);
        };
        return watch;
      },
    });
    expect(await replace({ sides: { ...link.sides, source } })).toEqual({ outcome: 'equal' });
    const countsOf = (from: number, to: number) =>
      asked.filter(({ start }) => start >= from && start < to).map(({ count }) => count);
    expect(Math.max(...countsOf(124_000, 126_000))).toBeLessThan(250);
    expect(Math.max(...countsOf(0, 50_000))).toBe(1_000);
  });

  test('of a stream are the ranges that differ', async () => {
    for (const { client } of [link.source, link.target]) await fillStream(client);
    await link.target.client.xdel('k', '500-1');
    expect((await fetched()).get('readStream')).toBe(1);
  });

  test('of a stream that differs in its groups alone is no entry', async () => {
    for (const { client } of [link.source, link.target]) await fillStream(client);
    await link.source.client.xgroup('CREATE', 'k', 'g', '0');
    await link.source.client.xreadgroup('GROUP', 'g', 'ann', 'COUNT', 10, 'STREAMS', 'k', '>');
    expect((await fetched()).get('readStream')).toBeUndefined();
  });

  test('of a key that differs in its expiry alone is nothing', async () => {
    for (const { client } of [link.source, link.target]) await fillList(client);
    await link.source.client.pexpire('k', 3_600_000);
    expect(await replace(link)).toEqual({ outcome: 'repaired', action: 'expiry', type: 'list', bytes: 0 });
  });
});

describe('one round', () => {
  let link: TestLink;
  beforeAll(async () => {
    link = await startLink();
  });
  afterAll(() => link?.stop());
  beforeEach(() => link.clear());

  test('tells of each step, comparing and building', async () => {
    await fillList(link.source.client);
    let steps = 0;
    await replaceLargeKey(withMemory(link.sides), KEY, DEFAULT_OPTIONS, () => steps++);
    expect(steps).toBeGreaterThanOrEqual(2 * Math.ceil(ELEMENTS / 1_000));
  });

  test('ends with the reason of an aborted signal, and leaves nothing', async () => {
    await link.source.client.set('k', stringOf(3_000_000));
    const stop = new AbortController();
    const options = { ...DEFAULT_OPTIONS, signal: stop.signal };
    // Read only when all is compared, to be sent.
    const { port: source } = hookWatches(link.sides.source, {
      'after readString': () => stop.abort(new Error('stopped')),
    });
    const ended = replaceLargeKey(withMemory({ ...link.sides, source }), KEY, options, silent);
    await expect(ended).rejects.toThrow('stopped');
    expect(await keysOf(link.target.client)).toEqual([]);
  });

  test('leaves both sides alone when neither has the key', async () => {
    expect(await replace(link)).toEqual({ outcome: 'equal' });
  });

  test('tolerates a small difference of expiry', async () => {
    const soon = Date.now() + 60_000;
    await link.source.client.set('k', 'v', 'PXAT', soon);
    await link.target.client.set('k', 'v', 'PXAT', soon + 90);
    expect(await replace(link)).toEqual({ outcome: 'equal' });
    await link.target.client.pexpireat('k', soon + 200);
    expect(await replace(link)).toMatchObject({ action: 'expiry' });
  });

  test('closes its connections, also when it fails', async () => {
    await link.source.client.set('k', stringOf(1_000_000));
    const connections = async () =>
      String(await link.target.client.info('clients')).match(/connected_clients:(\d+)/)![1];
    await link.sides.target.check();
    const before = await connections();
    await replace(link);
    await link.target.client.config('SET', 'maxmemory', '1mb');
    await link.target.client.del('k');
    expect(await replace(link)).toMatchObject({
      outcome: 'failed',
      error: { type: 'TargetOutOfMemory', stage: 'write' },
    });
    await link.target.client.config('SET', 'maxmemory', '0');
    await expect.poll(connections).toBe(before);
  });

  test('asks the delete guard, after the source was read', async () => {
    await link.target.client.set('k', 'v');
    for (let i = 0; i < 20; i++) await link.target.client.set(`other ${i}`, 'v');
    expect(await replace(link)).toMatchObject({ outcome: 'failed', error: { type: 'SourceSuspicious' } });
    expect(await link.target.client.get('k')).toBe('v');
    expect(await replace(link, { allowDelete: true })).toMatchObject({ outcome: 'repaired', action: 'deleted' });
    expect(await link.target.client.exists('k')).toBe(0);
  });

  test('does not take the same size for the same value', async () => {
    await link.source.client.set('k', stringOf(500_000));
    await link.target.client.set('k', Buffer.alloc(500_000));
    expect(await replace(link)).toMatchObject({ outcome: 'repaired', action: 'restored', bytes: 500_000 });
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });

  test('refuses a source that is a replica', async () => {
    await link.source.client.set('k', 'v');
    await link.source.client.call('REPLICAOF', '127.0.0.1', '1');
    try {
      expect(await replace(link)).toMatchObject({ outcome: 'failed', error: { type: 'SourceNotMaster' } });
    } finally {
      await link.source.client.call('REPLICAOF', 'NO', 'ONE');
    }
    expect(await link.target.client.exists('k')).toBe(0);
  });

  test('names a target that is a replica', async () => {
    await link.source.client.rpush('k', 'v');
    await link.target.client.call('REPLICAOF', '127.0.0.1', '1');
    try {
      expect(await replace(link)).toMatchObject({
        outcome: 'failed',
        error: { type: 'TargetReadOnly', stage: 'write' },
      });
    } finally {
      await link.target.client.call('REPLICAOF', 'NO', 'ONE');
    }
  });
});
