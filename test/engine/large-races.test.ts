/**
 * Replacing a large value never puts an older one over a newer one, never writes a torn one, and
 * leaves nothing behind.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { replaceLargeKey } from '../../src/engine/large/replacement.js';
import { connectRedis, type RedisPort } from '../../src/redis/index.js';
import { startProxy } from '../../src/stack/proxy.js';
import { compareRedis } from '../support/compare.js';
import { eventually } from '../support/eventually.js';
import { keysOf } from '../support/keys.js';
import { startRedis } from '../support/redis.js';
import { startRelay } from '../support/relay.js';
import { fillList, fillStream, stringOf } from './large-values.js';
import {
  DEFAULT_OPTIONS,
  once,
  portWith,
  resetWrites,
  startLink,
  type TestLink,
  withMemory,
  writesOn,
} from './link.js';
import { hookWatches, type WatchHooks } from './watched.js';

const KEY = Buffer.from('k');
const BYTES = 4_000_000;
const AGAIN = { outcome: 'again', repaired: null };

let link: TestLink;
const cleanups: (() => unknown)[] = [];
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Sides = { readonly source: RedisPort; readonly target: RedisPort };

function replace(sides: Sides = link.sides) {
  return replaceLargeKey(withMemory(sides), KEY, DEFAULT_OPTIONS, () => {});
}

function hooked({ source = {}, target = {} }: { source?: WatchHooks; target?: WatchHooks }): Sides {
  return { source: hookWatches(link.sides.source, source).port, target: hookWatches(link.sides.target, target).port };
}

/** A port to the target of its own, over another address. */
function targetAt(port: number, commandTimeoutMs = 5_000): RedisPort {
  const target = connectRedis({ url: `redis://127.0.0.1:${port}` }, { name: 'target', commandTimeoutMs });
  cleanups.push(() => target.close());
  return target;
}

/** What is on the target beside the key. */
async function leftovers(): Promise<string[]> {
  return (await keysOf(link.target.client)).filter((key) => key !== 'k');
}

async function becomesEqual(): Promise<void> {
  await replace();
  expect(await replace()).toEqual({ outcome: 'equal' });
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  expect(await leftovers()).toEqual([]);
}

interface Type {
  readonly type: string;
  readonly fill: (on: 'source' | 'target') => Promise<unknown>;
  readonly write: (on: 'source' | 'target') => Promise<unknown>;
}

const TYPES: readonly Type[] = [
  {
    type: 'string',
    fill: (on) => link[on].client.set('k', stringOf(BYTES)),
    write: (on) => link[on].client.append('k', 'newest'),
  },
  { type: 'list', fill: (on) => fillList(link[on].client), write: (on) => link[on].client.rpush('k', 'newest') },
  {
    type: 'stream',
    fill: (on) => fillStream(link[on].client),
    write: (on) => link[on].client.xadd('k', '99999-1', 'f', 'newest'),
  },
];

describe.each(TYPES)('a $type', ({ fill, write }) => {
  test.each(['after watch', 'before write'] as const)(
    'keeps a live write that comes to the target %s',
    async (when) => {
      await fill('source');
      const sides = hooked({ target: { [when]: once(() => write('target')) } });
      expect(await replace(sides)).toEqual(AGAIN);
      expect(await link.target.client.call('EXISTS', 'k')).toBe(1);
      expect(await link.target.client.memory('USAGE', 'k')).toBeLessThan(10_000);
      expect(await leftovers()).toEqual([]);
      await becomesEqual();
    },
  );

  test('keeps a live write that comes while it is found equal', async () => {
    await Promise.all([fill('source'), fill('target')]);
    const sides = hooked({ target: { 'before unchanged': once(() => write('target')) } });
    expect(await replace(sides)).toEqual(AGAIN);
  });

  test('keeps a live write that comes before its expiry is set', async () => {
    await Promise.all([fill('source'), fill('target')]);
    await link.source.client.pexpire('k', 3_600_000);
    const sides = hooked({ target: { 'before write': once(() => link.target.client.pexpire('k', 7_200_000)) } });
    expect(await replace(sides)).toEqual(AGAIN);
    expect(await link.target.client.pttl('k')).toBeGreaterThan(3_600_000);
  });

  test('keeps a live write that comes before it is deleted', async () => {
    await fill('target');
    const sides = hooked({ target: { 'before write': once(() => write('target')) } });
    expect(await replace(sides)).toEqual(AGAIN);
    expect(await link.target.client.exists('k')).toBe(1);
  });

  test('is not written when the source changes before the write', async () => {
    await fill('source');
    const sides = hooked({ source: { 'before unchanged': once(() => write('source')) } });
    expect(await replace(sides)).toEqual(AGAIN);
    expect(await link.target.client.exists('k')).toBe(0);
    await becomesEqual();
  });

  test('gets another round when the source changes between the check and the write', async () => {
    await fill('source');
    const sides = hooked({ target: { 'before write': once(() => write('source')) } });
    expect(await replace(sides)).toMatchObject({ outcome: 'again', repaired: { action: 'restored' } });
    await becomesEqual();
  });

  test('gets another round when the value of the source goes and comes back', async () => {
    await fill('source');
    const goAndComeBack = async () => {
      await link.source.client.rename('k', 'away');
      await link.source.client.rename('away', 'k');
    };
    const sides = hooked({ source: { 'after unchanged': once(goAndComeBack) } });
    expect(await replace(sides)).toMatchObject({ outcome: 'again', repaired: { action: 'restored' } });
    await becomesEqual();
  });

  test('that expires before the write is not resurrected', async () => {
    await fill('source');
    const expiry = Date.now() + 5_000;
    await link.source.client.pexpireat('k', expiry);
    await link.target.client.set('k', 'old');
    const expired = async () => {
      while (Date.now() <= expiry) await sleep(50);
    };
    const sides = hooked({ target: { 'before write': once(expired) } });
    await resetWrites(link.target);
    expect(await replace(sides)).toMatchObject({ outcome: 'again' });
    expect(await keysOf(link.target.client)).toEqual([]);
    // Nor put in place to expire there at once, which would hold the server while all of it is
    // freed.
    expect(await writesOn(link.target)).toEqual({ unlink: expect.any(Number) });
    expect(await replace()).toEqual({ outcome: 'equal' });
  });

  test('is not written when the connection of the watch was lost', async () => {
    await fill('source');
    await link.target.client.set('k', 'old');
    const lose = () => link.target.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    const result = await replace(hooked({ target: { 'before write': once(lose) } }));
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'TargetUnavailable', stage: 'write' } });
    expect(await link.target.client.get('k')).toBe('old');
    expect(await leftovers()).toEqual([]);
  });

  test('does nothing when the write arrives late', async () => {
    await fill('source');
    await link.target.client.set('k', 'old');
    const relay = await startRelay(link.target.port);
    cleanups.push(() => relay.close());
    const target = hookWatches(targetAt(relay.port, 3_000), { 'before write': () => relay.holdFrom('EVAL') }).port;
    const result = await replace({ source: link.sides.source, target });
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'TargetUnavailable', stage: 'write' } });
    // Past the deadline by the server's own clock; what was sent arrives now, although its sender
    // has gone.
    await sleep(10);
    const execs = async () => /cmdstat_exec:calls=\d+/.exec(await link.target.client.info('commandstats'))?.[0];
    const before = await execs();
    relay.deliver();
    await eventually(async () => expect(await execs()).not.toBe(before));
    expect(await link.target.client.get('k')).toBe('old');
  });

  test('leaves nothing on a target that runs out of memory', async () => {
    await fill('source');
    cleanups.push(() => link.target.client.config('SET', 'maxmemory', '0'));
    const full = () => link.target.client.config('SET', 'maxmemory', '1');
    const sides = hooked({ target: { 'after watch': once(full) } });
    const result = await replace(sides);
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'TargetOutOfMemory', stage: 'write' } });
    expect(await keysOf(link.target.client)).toEqual([]);
  });
});

test('a value is not confirmed by another server than the one that it was read at', async () => {
  const next = await startRedis();
  const successor = connectRedis({ url: next.url }, { name: 'source' });
  cleanups.push(
    () => next.stop(),
    () => successor.close(),
  );
  for (const { client } of [link.source, next]) await client.set('k', stringOf(BYTES));
  let watches = 0;
  // As behind a name or Sentinels: those that have watched the old one still have it.
  const watch: RedisPort['watch'] = (key) => (watches++ === 0 ? link.sides.source : successor).watch(key);
  const source = portWith(link.sides.source, { watch });
  expect(await replace({ ...link.sides, source })).toEqual(AGAIN);
  expect(await keysOf(link.target.client)).toEqual([]);
});

test('a string that is written while its pieces are read is never torn', async () => {
  await link.source.client.set('k', Buffer.alloc(BYTES, 'A'));
  const rewrite = () => link.source.client.set('k', Buffer.alloc(BYTES, 'B'));
  const sides = hooked({ source: { 'after readString': once(rewrite) } });
  expect(await replace(sides)).toEqual(AGAIN);
  expect(await keysOf(link.target.client)).toEqual([]);
  await becomesEqual();
});

test('a list that lost an element while it was built beside the key is not put in its place', async () => {
  await link.source.client.rpush('k', ...Array.from({ length: 10_000 }, (_, index) => `${index}`));
  await link.target.client.set('k', 'old');
  let lost = 0;
  // Asked for between the steps.
  const admit: RedisPort['admit'] = async (...args) => {
    const [temporary] = await leftovers();
    if (temporary !== undefined && lost++ === 0) await link.target.client.rpop(temporary);
    return link.sides.target.admit(...args);
  };
  const target = portWith(link.sides.target, { admit });
  expect(await replace({ source: link.sides.source, target })).toEqual(AGAIN);
  expect(lost).toBeGreaterThan(0);
  expect(await link.target.client.get('k')).toBe('old');
});

test('a list that is written while its ranges are read is never torn', async () => {
  await fillList(link.source.client);
  const turn = async () => {
    await link.source.client.lset('k', 0, 'first');
    await link.source.client.lset('k', -1, 'last');
  };
  expect(await replace(hooked({ source: { 'after readList': once(turn) } }))).toEqual(AGAIN);
  expect(await keysOf(link.target.client)).toEqual([]);
  await becomesEqual();
});

describe('a string under a writer that rewrites it all the time', () => {
  test('is one of the values that were written, whenever one looks', async () => {
    let writing = true;
    const write = async () => {
      for (let round = 0; writing; round++) {
        await link.source.client.set('k', Buffer.alloc(600_000, 65 + (round % 26)));
        await sleep(Math.random() * 10);
      }
    };
    const outcomes = new Map<string, number>();
    const reconcile = async () => {
      for (let pass = 0; pass < 60; pass++) {
        const { outcome } = await replace();
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        const seen = await link.target.client.getBuffer('k');
        if (seen !== null) expect(seen.equals(Buffer.alloc(600_000, seen[0]))).toBe(true);
      }
      writing = false;
    };
    await Promise.all([write(), reconcile()]);
    expect(outcomes.get('failed')).toBeUndefined();
    await becomesEqual();
  });
});

describe('consumer groups, which WATCH does not see', () => {
  const groupWrites: [string, (on: 'source' | 'target') => Promise<unknown>][] = [
    ['XREADGROUP', (on) => link[on].client.xreadgroup('GROUP', 'g', 'ann', 'COUNT', 5, 'STREAMS', 'k', '>')],
    ['XACK', (on) => link[on].client.xack('k', 'g', '10-1')],
    ['XCLAIM', (on) => link[on].client.xclaim('k', 'g', 'bob', 0, '10-1', 'JUSTID')],
    ['XGROUP CREATE', (on) => link[on].client.xgroup('CREATE', 'k', 'other', '0')],
    ['XGROUP SETID', (on) => link[on].client.xgroup('SETID', 'k', 'g', '0')],
    ['XGROUP DESTROY', (on) => link[on].client.xgroup('DESTROY', 'k', 'g')],
    ['XSETID', (on) => link[on].client.call('XSETID', 'k', '77777-0')],
  ];
  beforeEach(async () => {
    for (const { client } of [link.source, link.target]) {
      await fillStream(client);
      await client.xgroup('CREATE', 'k', 'g', '0');
      await client.xreadgroup('GROUP', 'g', 'ann', 'COUNT', 5, 'STREAMS', 'k', '>');
    }
    await link.source.client.xdel('k', '700-1');
  });

  test.each(groupWrites)('%s on the target before the write survives', async (_name, write) => {
    expect(await replace(hooked({ target: { 'before write': once(() => write('target')) } }))).toEqual(AGAIN);
    expect(await link.target.client.xlen('k')).toBe(1_100);
    await becomesEqual();
  });

  test.each(groupWrites)('%s on the source before the check is not half copied', async (_name, write) => {
    expect(await replace(hooked({ source: { 'before unchanged': once(() => write('source')) } }))).toEqual(AGAIN);
    expect(await link.target.client.xlen('k')).toBe(1_100);
    await becomesEqual();
  });
});

describe('while a string is sent', () => {
  async function through(commandTimeoutMs?: number) {
    const proxy = await startProxy({ target: { host: '127.0.0.1', port: link.target.port } });
    cleanups.push(() => proxy.close());
    await link.source.client.set('k', stringOf(40_000_000));
    return { proxy, sides: { source: link.sides.source, target: targetAt(proxy.port, commandTimeoutMs) } };
  }
  /** The source, at which something happens when a tenth was sent: it is read to be sent alone. */
  const midway = (act: () => void): RedisPort =>
    hookWatches(link.sides.source, { 'before readString': (call) => (call === 16 ? act() : undefined) }).port;

  test('a cut connection leaves nothing', async () => {
    const { proxy, sides } = await through();
    const result = await replace({ ...sides, source: midway(() => proxy.cut()) });
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'TargetUnavailable', stage: 'write' } });
    expect(await keysOf(link.target.client)).toEqual([]);
  });

  test('a peer that takes no more bytes ends it, and nothing lands later', async () => {
    const { sides } = await through(3_000);
    const source = midway(() => link.target.freeze());
    const result = await replace({ ...sides, source }).finally(() => link.target.thaw());
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'TargetUnavailable', stage: 'write' } });
    await link.target.client.ping();
    expect(await keysOf(link.target.client)).toEqual([]);
  });

  test('a target that closes idle connections keeps the watch', async () => {
    const { sides } = await through();
    cleanups.push(() => link.target.client.config('SET', 'timeout', '0'));
    await link.target.client.config('SET', 'timeout', '3');
    let steps = 0;
    // Never idle on the connection that sends, and longer than the timeout on that of the watch.
    const source = hookWatches(sides.source, {
      'before readString': () => (steps++ % 16 === 0 ? sleep(700) : undefined),
    }).port;
    expect(await replace({ ...sides, source })).toMatchObject({ outcome: 'repaired' });
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });

  test('a slow peer does not, though it all takes longer than a command may', async () => {
    const { sides } = await through(2_000);
    let steps = 0;
    const source = hookWatches(sides.source, {
      'before readString': () => (steps++ % 8 === 0 ? sleep(200) : undefined),
    }).port;
    expect(await replace({ ...sides, source })).toMatchObject({ outcome: 'repaired' });
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });
});
