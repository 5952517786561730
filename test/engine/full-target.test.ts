/** A target at `maxmemory` takes nothing more, whatever else a call of ours has written before. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type KeyRequest, reconcileKeys } from '../../src/engine/index.js';
import { provideValkey9 } from '../../src/stack/programs/index.js';
import { keysOf } from '../support/keys.js';
import type { RedisServer } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import { DEFAULT_OPTIONS, startLink, type TestLink } from './link.js';

const VALUE = 'x'.repeat(20_000);
const KEYS = Array.from({ length: 30 }, (_, index) => `k${index}`);

async function used({ client }: RedisServer): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await client.info('memory'))![1]);
}

/** Nothing may be added any more. @returns what the keys are then */
async function fill(target: RedisServer): Promise<(Buffer | null)[]> {
  await target.client.config('SET', 'maxmemory', `${(await used(target)) - 1}`);
  return valuesOf(target);
}

function valuesOf({ client }: RedisServer): Promise<(Buffer | null)[]> {
  return Promise.all(KEYS.map((key) => client.dumpBuffer(key)));
}

function fullTargetTests(start: () => Promise<TestLink>): void {
  let link: TestLink;
  beforeEach(async () => {
    link = await start();
  });
  afterEach(() => link?.stop());

  const reconcile = (requests: readonly (string | KeyRequest)[]) =>
    reconcileKeys(
      link.sides,
      requests.map((each) => (typeof each === 'string' ? { key: Buffer.from(each), allowDelete: true } : each)),
      DEFAULT_OPTIONS,
    );

  async function refusesAll(results: Awaited<ReturnType<typeof reconcile>>, before: (Buffer | null)[]): Promise<void> {
    for (const result of results) {
      expect(result).toMatchObject({ outcome: 'failed', error: { type: 'TargetOutOfMemory', stage: 'write' } });
    }
    expect(await valuesOf(link.target)).toEqual(before);
  }

  test.each<[string, (link: TestLink) => Promise<unknown>, string, object]>([
    ['a delete', ({ target }) => target.client.set('first', 'v'), 'first', { action: 'deleted' }],
    [
      'an expiry',
      async ({ source, target }) => {
        for (const { client } of [source, target]) await client.set('first', 'v');
        await source.client.pexpire('first', 1_000_000);
      },
      'first',
      { action: 'expiry' },
    ],
    [
      'an expiry that goes',
      async ({ source, target }) => {
        for (const { client } of [source, target]) await client.set('first', 'v');
        await target.client.pexpire('first', 1_000_000);
      },
      'first',
      { action: 'expiry' },
    ],
    ['nothing', async () => {}, 'first', { outcome: 'equal' }],
  ])('strings behind %s', async (_what, prepare, first, done) => {
    await prepare(link);
    for (const key of KEYS) await link.source.client.set(key, VALUE);
    const before = await fill(link.target);
    const [result, ...others] = await reconcile([first, ...KEYS]);
    expect(result).toMatchObject(done);
    await refusesAll(others, before);
    // Nor does a key lose its old value.
    await link.target.client.config('SET', 'maxmemory', '0');
    expect(new Set((await reconcile(KEYS)).map(({ outcome }) => outcome))).toEqual(new Set(['repaired']));
  });

  test.each(['hash', 'list', 'set', 'zset'])('a %s behind a delete', async (type) => {
    const { source, target } = link;
    await target.client.set('first', 'v');
    for (const key of KEYS) {
      if (type === 'hash') await source.client.hset(key, 'f', VALUE);
      if (type === 'list') await source.client.rpush(key, VALUE, 'b');
      if (type === 'set') await source.client.sadd(key, VALUE);
      if (type === 'zset') await source.client.zadd(key, 1, VALUE);
    }
    const before = await fill(target);
    const [result, ...others] = await reconcile(['first', ...KEYS]);
    expect(result).toMatchObject({ action: 'deleted' });
    await refusesAll(others, before);
  });

  test.each(['hash', 'set', 'zset'])('members of a %s behind one that goes', async (type) => {
    const add = (redis: RedisServer, key: string, member: string) =>
      type === 'hash'
        ? redis.client.hset(key, member, VALUE)
        : type === 'set'
          ? redis.client.sadd(key, member)
          : redis.client.zadd(key, 1, member);
    const large = `${VALUE} ${type === 'hash' ? '' : 'member'}`;
    for (const key of ['first', ...KEYS]) for (const side of [link.source, link.target]) await add(side, key, 'kept');
    await add(link.target, 'first', 'surplus');
    for (const key of KEYS) await add(link.source, key, large);
    const before = await fill(link.target);
    const scope = (member: string) => ({ kind: 'members', members: [Buffer.from(member)] }) as const;
    const [result, ...others] = await reconcile([
      { key: Buffer.from('first'), scope: scope('surplus') },
      ...KEYS.map((key) => ({ key: Buffer.from(key), scope: scope(large) })),
    ]);
    expect(result).toMatchObject({ outcome: 'repaired' });
    await refusesAll(others, before);
  });
}

fullTargetTests(() => startLink());

await describeWith('built by commands, from Valkey 9', provideValkey9, (binary) => {
  fullTargetTests(() => startLink([], [], { source: { binary } }));

  test('a value is as it was when it is refused', async () => {
    const link = await startLink([], [], { source: { binary } });
    try {
      await link.source.client.rpush('k', VALUE);
      await link.target.client.rpush('k', 'old');
      await fill(link.target);
      expect(await link.reconcile('k')).toMatchObject({ error: { type: 'TargetOutOfMemory' } });
      expect(await link.target.client.lrange('k', 0, -1)).toEqual(['old']);
      expect(await keysOf(link.target.client)).toEqual(['k']);
    } finally {
      await link.stop();
    }
  });
});
