/**
 * A repair that reaches the target when nobody waits for its answer any more does nothing,
 * whichever way it writes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type KeyResult, reconcileLargeKey } from '../../src/engine/index.js';
import { replaceOtherType } from '../../src/engine/large/other-type.js';
import { replaceLargeKey } from '../../src/engine/large/replacement.js';
import { connectRedis, type RedisPort } from '../../src/redis/index.js';
import {
  atLastLook,
  DEFAULT_OPTIONS,
  intercept,
  once,
  reconcileOne,
  resetWrites,
  startLink,
  type TestLink,
  withMemory,
  writesOn,
} from './link.js';
import { hookWatches } from './watched.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

const KEY = Buffer.from('hash');
const MEMBERS = { key: KEY, members: [Buffer.from('f')] };

/**
 * Each writes the source's hash on the target; `late`: by the target's clock so many ms after it
 * was observed.
 */
const WAYS: Record<string, (sides: TestLink['sides'], late: number) => Promise<unknown[]>> = {
  repair: async ({ source, target }, late) => {
    const observed = await first(target.inspect([KEY]));
    const reading = await first(source.read([{ key: KEY, known: observed }]));
    if (reading === 'deferred') throw new Error('one key is never deferred');
    const { dump, content, expiry } = reading;
    const change = { action: 'restore', dump: dump!, content, expiry, expiryTolerated: true } as const;
    return target.repair([{ key: KEY, observed: seenEarlier(observed, late), change }]);
  },
  rebuild: async ({ source, target }, late) => {
    const observed = await first(target.inspect([KEY]));
    const reading = await first(source.readRecipes([{ key: KEY, known: observed }]));
    if (reading === 'deferred') throw new Error('one key is never deferred');
    const { recipe, content, expiry } = reading;
    const change = { action: 'rebuild', recipe: recipe!, content, expiry, expiryTolerated: true } as const;
    return target.rebuild([{ key: KEY, observed: seenEarlier(observed, late), change }]);
  },
  repairMembers: async ({ source, target }, late) => {
    const observed = await first(target.inspectMembers([MEMBERS]));
    const reading = await first(source.readMembers([MEMBERS]));
    if (reading === 'deferred') throw new Error('one key is never deferred');
    const { type, cells } = reading;
    return target.repairMembers([{ ...MEMBERS, observed: seenEarlier(observed, late), type, cells, expiry: null }]);
  },
};

type Answer<Method extends keyof RedisPort> = RedisPort[Method] extends (...args: never[]) => Promise<(infer One)[]>
  ? One
  : never;

async function first<One extends Answer<'inspect' | 'read' | 'readRecipes' | 'inspectMembers' | 'readMembers'>>(
  answers: Promise<One[]>,
): Promise<Exclude<One, Error>> {
  const [answer] = await answers;
  if (answer instanceof Error) throw answer;
  return answer as Exclude<One, Error>;
}

function seenEarlier<Observed extends { readonly serverTimeMs: number }>(observed: Observed, ms: number): Observed {
  // In place: of a copy nobody knows at which server it was observed.
  return Object.assign(observed, { serverTimeMs: observed.serverTimeMs - ms });
}

test.each(Object.entries(WAYS))('%s', async (_name, write) => {
  await link.source.client.hset('hash', 'f', 'new');
  await link.target.client.hset('hash', 'f', 'old');
  expect(await write(link.sides, 60_000)).toMatchObject([{ code: 'LATE' }]);
  expect(await link.target.client.hgetall('hash')).toEqual({ f: 'old' });

  expect(await write(link.sides, 0)).toEqual([expect.stringMatching(/^(restored|repaired)$/)]);
  expect(await link.target.client.hgetall('hash')).toEqual({ f: 'new' });
});

test('the time counts from the observation, whatever has kept the attempt since', async () => {
  const commandTimeoutMs = 1_000;
  const target = connectRedis({ url: link.target.url }, { name: 'target', commandTimeoutMs });
  try {
    await link.source.client.set('k', 'A');
    await link.target.client.set('k', 'X');
    await resetWrites(link.target);
    // The value comes back, and another attempt finds both equal and ends.
    const stalled = async () => {
      await link.source.client.set('k', 'X');
      await sleep(1.2 * commandTimeoutMs);
    };
    const source = intercept(link.sides.source, { 'after read': once(stalled) });
    expect(await reconcileOne({ source, target }, 'k')).toEqual({ outcome: 'equal' });
    expect(await writesOn(link.target)).toEqual({});
    expect(await link.target.client.get('k')).toBe('X');
  } finally {
    await target.close();
  }
});

const SLOW: Record<string, (sides: TestLink['sides']) => Promise<KeyResult>> = {
  'a whole key': (sides) => reconcileOne(sides, 'hash'),
  'named members': (sides) => reconcileOne(sides, 'hash', { scope: { kind: 'members', members: [Buffer.from('f')] } }),
  'a large hash': (sides) => reconcileLargeKey(sides, { key: KEY }, { ...DEFAULT_OPTIONS, onProgress() {} }),
};

test.each(Object.entries(SLOW))(
  'a source that is too slow for %s is not told as a key that changes',
  async (what, run) => {
    const commandTimeoutMs = 1_000;
    const target = connectRedis({ url: link.target.url }, { name: 'target', commandTimeoutMs });
    try {
      for (const { client } of [link.source, link.target]) {
        await client.hset('hash', 'f', client === link.source.client ? 'new' : 'old');
        if (what === 'a large hash') await fillHash(client, 6_000);
      }
      const source = intercept(link.sides.source, { 'after read': () => sleep(1.2 * commandTimeoutMs) });
      const result = await run({ source, target });
      expect(result).toMatchObject({ outcome: 'failed', error: { type: 'TargetUnavailable', stage: 'write' } });
      expect(String(result.outcome === 'failed' && result.error.message)).toContain('later than 1 s');
      expect(await link.target.client.hget('hash', 'f')).toBe('old');
    } finally {
      await target.close();
    }
  },
);

async function fillHash(client: TestLink['source']['client'], fields: number): Promise<void> {
  await client.hset('hash', Object.fromEntries(Array.from({ length: fields }, (_, index) => [`${index}`, 'v'])));
}

test.each<{
  what: string;
  passes: () => Promise<unknown>;
  /** The source, with something happening behind the last look at it before the write. */
  lookedAt: (behind: () => Promise<unknown>) => RedisPort;
  replace: (sides: TestLink['sides']) => Promise<unknown>;
}>([
  {
    what: 'a large value',
    passes: () => link.source.client.set('k', 'A'),
    lookedAt: (behind) => hookWatches(link.sides.source, { 'after unchanged': once(behind) }).port,
    replace: (sides) => replaceLargeKey(withMemory(sides), Buffer.from('k'), DEFAULT_OPTIONS, () => {}),
  },
  {
    what: 'a value that takes the place of another type',
    passes: () => link.source.client.hset('k', 'f', 'A'),
    lookedAt: (behind) => atLastLook(link.sides.source, { behind }),
    replace: (sides) => replaceOtherType(withMemory(sides), Buffer.from('k'), 'hash', DEFAULT_OPTIONS, () => {}),
  },
])('for $what it counts from before the last look at the source', async ({ passes, lookedAt, replace }) => {
  const commandTimeoutMs = 2_000;
  const target = connectRedis({ url: link.target.url }, { name: 'target', commandTimeoutMs });
  try {
    await link.target.client.set('k', 'X');
    await passes();
    const clock = async () => Number((await link.target.client.time())[0]);
    // The value comes back, and another attempt finds both equal and ends.
    const source = lookedAt(async () => {
      await link.source.client.set('k', 'X');
      const late = (await clock()) + commandTimeoutMs / 1_000 + 1;
      await expect.poll(clock).toBeGreaterThanOrEqual(late);
    });
    await resetWrites(link.target);
    expect(await replace({ source, target })).toEqual({ outcome: 'again', repaired: null });
    expect(await writesOn(link.target)).not.toHaveProperty('rename');
    expect(await link.target.client.get('k')).toBe('X');
  } finally {
    await target.close();
  }
});
