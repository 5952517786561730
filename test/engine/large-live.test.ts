/** A large value that somebody trims, deletes or replaces in the middle of its round. */

import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { replaceLargeKey } from '../../src/engine/large/replacement.js';
import { compareRedis } from '../support/compare.js';
import { keysOf } from '../support/keys.js';
import { fillList, fillStream, stringOf } from './large-values.js';
import { DEFAULT_OPTIONS, once, startLink, type TestLink, withMemory } from './link.js';
import { hookWatches, type WatchHooks } from './watched.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

const replace = (sides: Pick<TestLink['sides'], 'source' | 'target'>) =>
  replaceLargeKey(withMemory(sides), Buffer.from('k'), DEFAULT_OPTIONS, () => {});

type Change = (redis: Redis) => Promise<unknown>;
type When = keyof WatchHooks;
interface Value {
  readonly fill: Change;
  /** Makes the target differ in one range, so that the others are copied. */
  readonly differ: Change;
  /** When the value is changed: a step of either side. */
  readonly steps: readonly When[];
  readonly changes: Readonly<Record<string, Change>>;
}

const ANY_TYPE: Readonly<Record<string, Change>> = {
  'is deleted': (redis) => redis.del('k'),
  'becomes a hash': (redis) => redis.multi().del('k').hset('k', 'f', 'v').exec(),
  'becomes a list': (redis) => redis.multi().del('k').rpush('k', 'e').exec(),
};

const VALUES: Readonly<Record<string, Value>> = {
  string: {
    fill: (redis) => redis.set('k', stringOf(1_000_000)),
    differ: (redis) => redis.setrange('k', 10, 'x'),
    steps: ['after watch', 'after digestString', 'before readString', 'after readString'],
    changes: { ...ANY_TYPE, 'is shortened': (redis) => redis.set('k', stringOf(300_000)) },
  },
  list: {
    fill: (redis) => fillList(redis),
    differ: (redis) => redis.lset('k', 10, 'x'),
    steps: ['after watch', 'after digestList', 'before readList', 'after readList'],
    changes: {
      ...ANY_TYPE,
      'is trimmed': (redis) => redis.ltrim('k', 0, 5),
      'is emptied': (redis) => redis.ltrim('k', 1, 0),
    },
  },
  stream: {
    fill: async (redis) => {
      await fillStream(redis);
      await redis.xgroup('CREATE', 'k', 'g', '0');
      await redis.xreadgroup('GROUP', 'g', 'c', 'COUNT', 400, 'STREAMS', 'k', '>');
    },
    differ: (redis) => redis.xdel('k', '20-1'),
    steps: [
      'after watch',
      'after digestStream',
      'before readStreamState',
      'after readStreamState',
      'before readPending',
      'after readStream',
    ],
    changes: {
      ...ANY_TYPE,
      'is trimmed': (redis) => redis.xtrim('k', 'MAXLEN', 3),
      'loses its group': (redis) => redis.xgroup('DESTROY', 'k', 'g'),
    },
  },
};

describe.each(Object.entries(VALUES))('a %s', (_type, { fill, differ, steps, changes }) => {
  const cases = Object.keys(changes).flatMap((what) =>
    (['source', 'target'] as const).flatMap((written) =>
      steps.flatMap((step) => (['source', 'target'] as const).map((at) => ({ what, written, step, at }))),
    ),
  );

  test.each(cases)('$what on the $written $step of the $at', async ({ what, written, step, at }) => {
    await Promise.all([fill(link.source.client), fill(link.target.client)]);
    await differ(link.target.client);
    let changed = false;
    const change = once(async () => {
      changed = true;
      await changes[what]!(link[written].client);
    });
    const result = await replace({ ...link.sides, [at]: hookWatches(link.sides[at], { [step]: change }).port });
    // A step that this side never takes, or the watch that had not begun: then it was no change.
    if (!changed || step === 'after watch') expect(['again', 'repaired']).toContain(result.outcome);
    else expect(result).toEqual({ outcome: 'again', repaired: null });
    expect((await keysOf(link.target.client)).filter((key) => key !== 'k')).toEqual([]);
  });
});

test('what a round leaves to the next is equal in the end', async () => {
  await fillList(link.source.client);
  await fillList(link.target.client);
  await link.target.client.lset('k', 10, 'x');
  const target = hookWatches(link.sides.target, {
    'after digestList': once(() => link.target.client.ltrim('k', 1, 0)),
  }).port;
  expect(await replace({ ...link.sides, target })).toEqual({ outcome: 'again', repaired: null });
  expect(await replace(link.sides)).toMatchObject({ outcome: 'repaired' });
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});
