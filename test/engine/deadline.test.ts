/**
 * A repair that reaches the target when nobody waits for its answer any more does nothing,
 * whichever way it writes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { connectRedis, type RedisPort } from '../../src/redis/index.js';
import { intercept, reconcileOne, startLink, type TestLink } from './link.js';

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
    const { type, cells } = await first(source.readMembers([MEMBERS]));
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
  return { ...observed, serverTimeMs: observed.serverTimeMs - ms };
}

test.each(Object.entries(WAYS))('%s', async (_name, write) => {
  await link.source.client.hset('hash', 'f', 'new');
  await link.target.client.hset('hash', 'f', 'old');
  expect(await write(link.sides, 60_000)).toEqual(['changed']);
  expect(await link.target.client.hgetall('hash')).toEqual({ f: 'old' });

  expect(await write(link.sides, 0)).toEqual([expect.stringMatching(/^(restored|repaired)$/)]);
  expect(await link.target.client.hgetall('hash')).toEqual({ f: 'new' });
});

test('a repair is in time however long ago it was compared: only the wait for its answer is bounded', async () => {
  const commandTimeoutMs = 1_000;
  const target = connectRedis({ url: link.target.url }, { name: 'target', commandTimeoutMs });
  try {
    await link.source.client.set('k', 'new');
    let repairs = 0;
    const slow = intercept(target, {
      'before repair': async () => {
        repairs += 1;
        await sleep(1.2 * commandTimeoutMs);
      },
    });
    expect(await reconcileOne({ ...link.sides, target: slow }, 'k')).toMatchObject({ outcome: 'repaired' });
    expect(repairs).toBe(1);
  } finally {
    await target.close();
  }
});
