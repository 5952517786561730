/**
 * An attempt that was given up: it writes nothing more, for another one may have found the key
 * equal and ended since; and what it has written already, it does not leave there when the source
 * has moved on.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { LinkMemory, type LinkSides, reconcileKeys, reconcileLargeKey } from '../../src/engine/index.js';
import { compareRedis } from '../support/compare.js';
import { keysOf } from '../support/keys.js';
import { stringOf } from './large-values.js';
import {
  atLastLook,
  DEFAULT_OPTIONS,
  intercept,
  once,
  reconcileOne,
  resetWrites,
  startLink,
  type TestLink,
  writesOn,
} from './link.js';
import { hookWatches } from './watched.js';

const LIMITS = { elements: 100, bytes: 20_000 };
const MEMBER = { scope: { kind: 'members' as const, members: [Buffer.from('f')] } };
const GIVEN_UP = new Error('given up');

let link: TestLink;
beforeAll(async () => {
  link = await startLink([], [], { largeValues: LIMITS });
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

type Side = 'source' | 'target';

interface Case {
  readonly what: string;
  readonly options?: typeof MEMBER;
  /** What the key is before and after. */
  readonly stays: (on: Side) => Promise<unknown>;
  /** Makes the source what it is for the moment in which it is read. */
  readonly passes: () => Promise<unknown>;
  /** After which step of the engine the source moves on. */
  readonly lastStep: 'after read' | 'after health';
}

const CASES: readonly Case[] = [
  {
    what: 'a string',
    stays: (on) => link[on].client.set('k', 'X'),
    passes: () => link.source.client.set('k', 'A'),
    lastStep: 'after read',
  },
  {
    what: 'named members',
    options: MEMBER,
    stays: (on) => link[on].client.hset('k', 'f', 'X'),
    passes: () => link.source.client.hset('k', 'f', 'A'),
    lastStep: 'after read',
  },
  {
    what: 'an expiry',
    stays: (on) => link[on].client.set('k', 'X'),
    passes: () => link.source.client.expire('k', 3600),
    lastStep: 'after read',
  },
  {
    what: 'a delete',
    stays: (on) => link[on].client.set('k', 'X'),
    passes: () => link.source.client.del('k'),
    lastStep: 'after health',
  },
  {
    what: 'a value built by commands',
    stays: (on) => link[on].client.eval("redis.call('DEL', 'k') return redis.call('RPUSH', 'k', 'X')", 0),
    passes: () => link.source.client.rpush('k', 'A'),
    lastStep: 'after read',
  },
];

describe.each(CASES)('$what', ({ what, options = {}, stays, passes, lastStep }) => {
  function sides(): LinkSides {
    const memory = new LinkMemory(link.sides);
    if (what === 'a value built by commands') memory.payloadVersionRefused();
    return { ...link.sides, memory };
  }

  test('is not written by an attempt that is given up before its write', async () => {
    await stays('source');
    await stays('target');
    await passes();
    const abort = new AbortController();
    const giveUp = once(async () => {
      await stays('source');
      abort.abort(GIVEN_UP);
    });
    const source = intercept(link.sides.source, { [lastStep]: giveUp });
    const attempt = reconcileOne({ ...sides(), source }, 'k', { ...options, signal: abort.signal });
    await expect(attempt).rejects.toBe(GIVEN_UP);
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });

  test('is mended by an attempt that is given up while its write is on the way', async () => {
    await stays('source');
    await stays('target');
    await passes();
    const abort = new AbortController();
    const target = intercept(link.sides.target, {
      'before repair': once(() => abort.abort(GIVEN_UP)),
      'after repair': once(() => stays('source')),
    });
    const attempt = reconcileOne({ ...sides(), target }, 'k', { ...options, signal: abort.signal });
    expect(await attempt).toMatchObject({ outcome: 'repaired' });
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });
});

test('of many keys those that were not written yet stay as they are', async () => {
  const names = ['a', 'b', 'k'];
  for (const name of names) await link.source.client.set(name, 'new');
  const abort = new AbortController();
  const source = intercept(link.sides.source, { 'after read': once(() => abort.abort(GIVEN_UP)) });
  const requests = names.map((name) => ({ key: Buffer.from(name) }));
  const options = { ...DEFAULT_OPTIONS, signal: abort.signal };
  await expect(reconcileKeys({ ...link.sides, source }, requests, options)).rejects.toBe(GIVEN_UP);
  expect(await keysOf(link.target.client)).toHaveLength(0);
});

test('nor does another key of theirs, that was written and has changed since, take them along', async () => {
  for (const name of ['a', 'b']) await link.source.client.set(name, 'first');
  const abort = new AbortController();
  const source = intercept(link.sides.source, {
    'after read': (call) => {
      if (call === 1) abort.abort(GIVEN_UP);
    },
  });
  const target = intercept(link.sides.target, {
    // So `b` is for the second round, unwritten,
    'before repair': once(() => link.target.client.set('b', 'of a live write')),
    // and `a` as well, written.
    'after repair': once(() => link.source.client.set('a', 'second')),
  });
  const requests = ['a', 'b'].map((name) => ({ key: Buffer.from(name) }));
  const options = { ...DEFAULT_OPTIONS, signal: abort.signal };
  await expect(reconcileKeys({ source, target }, requests, options)).rejects.toBe(GIVEN_UP);
  expect(await link.target.client.mget('a', 'b')).toEqual(['second', 'of a live write']);
});

test('what it has written is mended within a time that others wait for, or has failed as written', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    await link.target.client.set('k', 'X');
    await link.source.client.set('k', 'A');
    const abort = new AbortController();
    const target = intercept(link.sides.target, {
      'before repair': once(() => abort.abort(GIVEN_UP)),
      'after repair': once(() => link.source.client.set('k', 'X')),
      // The 6 s of `OUTLIVES_MS`, less the 2 s that a command may take.
      'before inspect': (call) => (call === 1 ? vi.advanceTimersByTime(4_000) : undefined),
    });
    const attempt = reconcileOne({ ...link.sides, target }, 'k', { signal: abort.signal });
    expect(await attempt).toMatchObject({ outcome: 'failed', wrote: true, error: { type: 'Contended' } });
    expect(await link.target.client.get('k')).toBe('A');
  } finally {
    vi.useRealTimers();
  }
});

const reconcileLarge = (sides: LinkSides, signal: AbortSignal) =>
  reconcileLargeKey(sides, { key: Buffer.from('k') }, { ...DEFAULT_OPTIONS, signal, onProgress: () => {} });

/** What was written since `resetWrites`, but for a temporary key that was taken away. */
async function written(): Promise<string[]> {
  return Object.keys(await writesOn(link.target)).filter((command) => command !== 'unlink');
}

describe.each([
  ['string', ['SET', 'k', stringOf(50_000).toString()], ['APPEND', 'k', 'more']],
  [
    'hash',
    ['HSET', 'k', ...Array.from({ length: 1_000 }, (_, index) => `${index}`)],
    ['HSET', 'k', '0', 'changed', 'more', 'more'],
  ],
] as [string, [string, ...string[]], [string, ...string[]]][])('a large %s', (_type, fill, change) => {
  beforeEach(async () => {
    for (const side of [link.source, link.target]) await side.client.call(...fill);
    await link.source.client.call(...change);
  });

  const undo = async () => {
    await link.source.client.del('k');
    await link.source.client.call(...fill);
  };

  test('is not written by an attempt that is given up before its write', async () => {
    const abort = new AbortController();
    const giveUp = once(async () => {
      await undo();
      await resetWrites(link.target);
      abort.abort(GIVEN_UP);
    });
    const watched = hookWatches(link.sides.source, { 'after unchanged': giveUp }).port;
    const source = intercept(watched, { 'after read': giveUp });
    await expect(reconcileLarge({ ...link.sides, source }, abort.signal)).rejects.toBe(GIVEN_UP);
    // Not even for the moment in which a write is mended.
    expect(await written()).toEqual([]);
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });

  test('is mended by an attempt that is given up while its write is on the way', async () => {
    const abort = new AbortController();
    const giveUp = once(() => abort.abort(GIVEN_UP));
    const watched = hookWatches(link.sides.target, { 'before write': giveUp, 'after write': once(undo) }).port;
    const target = intercept(watched, { 'before repair': giveUp, 'after repair': once(undo) });
    await reconcileLarge({ ...link.sides, target }, abort.signal).catch((error) => expect(error).toBe(GIVEN_UP));
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });
});

test('a value of another type stays when the attempt that has built a large one beside it is given up', async () => {
  await link.target.client.set('k', 'X');
  await link.source.client.hset('k', ...Array.from({ length: 1_000 }, (_, index) => `${index}`));
  const abort = new AbortController();
  const behind = async () => {
    await link.source.client.set('k', 'X');
    await resetWrites(link.target);
    abort.abort(GIVEN_UP);
  };
  const source = atLastLook(link.sides.source, { behind });
  await expect(reconcileLarge({ ...link.sides, source }, abort.signal)).rejects.toBe(GIVEN_UP);
  expect(await written()).toEqual([]);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});
