import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type KeyResult, type ReconcileError, reconcileKeys, reconcileLargeKey } from '../../src/engine/index.js';
import { connectRedis, type RedisPort } from '../../src/redis/index.js';
import { compareRedis } from '../support/compare.js';
import { keysOf } from '../support/keys.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { DEFAULT_OPTIONS, intercept, once, reconcileOne, startLink, type TestLink } from './link.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(async () => {
  await link.source.client.replicaof('NO', 'ONE');
  await link.clear();
});

async function fill(side: 'source' | 'target', count: number): Promise<void> {
  if (count === 0) return;
  await link[side].client.mset(...Array.from({ length: count }, (_, index) => [`k${index}`, 'v']).flat());
}

function errorOf(result: KeyResult): ReconcileError {
  if (result.outcome !== 'failed') throw new Error(`expected a failure, got ${result.outcome}`);
  return result.error;
}

describe('with the default thresholds (half, ten keys)', () => {
  test.each([
    [0, 20, 'failed'],
    [9, 20, 'failed'],
    [10, 20, 'repaired'], // exactly half
    [0, 10, 'failed'],
    [0, 9, 'repaired'], // fewer than ten keys apart
    [49, 100, 'failed'],
    [50, 100, 'repaired'],
    [100, 100, 'repaired'],
  ])('a source of %i keys and a target of %i: the delete is %s', async (source, target, outcome) => {
    await fill('source', source);
    await fill('target', target - 1);
    await link.target.client.set('gone', 'v');
    const result = await link.reconcile('gone');
    expect(result.outcome).toBe(outcome);
    expect(await link.target.client.exists('gone')).toBe(outcome === 'failed' ? 1 : 0);
  });
});

test('the thresholds are the caller’s', async () => {
  await fill('source', 8);
  await fill('target', 9);
  const deleteGuard = { minimumRatio: 0.9, minimumGap: 1 };
  expect(errorOf(await link.reconcile('k8', { deleteGuard })).type).toBe('SourceSuspicious');
  expect(await link.reconcile('k8')).toMatchObject({ action: 'deleted' });
});

test('the refusal is one line that says what, where and what next, and is not retried by itself', async () => {
  await fill('target', 20);
  const error = errorOf(await link.reconcile('k1'));
  expect(error).toMatchObject({ type: 'SourceSuspicious', stage: 'compare' });
  expect(error.message).toBe(
    `source (127.0.0.1:${link.source.port}) has 0 keys and target (127.0.0.1:${link.target.port}) 20: the source may ` +
      'have lost its data, so nothing was deleted; restore the source, or allow it for this key if its value was meant to go',
  );
});

test('a person can allow the delete of a key', async () => {
  await fill('target', 20);
  const results = await reconcileKeys(
    link.sides,
    [{ key: Buffer.from('k1'), allowDelete: true }, { key: Buffer.from('k2') }],
    DEFAULT_OPTIONS,
  );
  expect(results.map(({ outcome }) => outcome)).toEqual(['repaired', 'failed']);
  expect(await link.target.client.exists('k1', 'k2')).toBe(1);
});

test('a refused delete does not hold up the other keys of the batch', async () => {
  await link.source.client.set('k1', 'new');
  await fill('target', 30);
  const results = await reconcileKeys(
    link.sides,
    ['k0', 'k1', 'k2'].map((key) => ({ key: Buffer.from(key) })),
    DEFAULT_OPTIONS,
  );
  expect(results.map(({ outcome }) => outcome)).toEqual(['failed', 'repaired', 'failed']);
  expect(await link.target.client.get('k1')).toBe('new');
});

test('a source that loses its data just before it is read is noticed', async () => {
  await fill('source', 50);
  await fill('target', 50);
  const source = intercept(link.sides.source, { 'before read': once(() => link.source.client.flushall()) });
  const error = errorOf(await reconcileOne({ source, target: link.sides.target }, 'k1'));
  expect(error.type).toBe('SourceSuspicious');
  expect(await keysOf(link.target.client)).toHaveLength(50);
});

test('a target that does not say how many keys it has loses none', async () => {
  await fill('target', 20);
  await link.target.client.call('ACL', 'SETUSER', 'blind', 'on', '>right', '~*', '+@all', '-dbsize');
  const url = link.target.url.replace('//', '//blind:right@');
  const target = connectRedis({ url }, { name: 'target' });
  try {
    const error = errorOf(await reconcileOne({ ...link.sides, target }, 'k1'));
    expect(error).toMatchObject({ type: 'NoPermission', stage: 'compare' });
    expect(await keysOf(link.target.client)).toHaveLength(20);
  } finally {
    await target.close();
  }
});

test('a source that was flushed never empties the target', async () => {
  await fill('source', 300);
  await fill('target', 300);
  await link.source.client.flushall();
  const keys = Array.from({ length: 300 }, (_, index) => ({ key: Buffer.from(`k${index}`) }));
  const results = await reconcileKeys(link.sides, keys, DEFAULT_OPTIONS);
  expect(results.every((result) => errorOf(result).type === 'SourceSuspicious')).toBe(true);
  expect(await keysOf(link.target.client)).toHaveLength(300);
});

describe('a source that was flushed and has been written since', () => {
  const ELEMENTS = Array.from({ length: 6_000 }, (_, index) => `m${index}`);
  const key = Buffer.from('users');
  const options = { ...DEFAULT_OPTIONS, onProgress() {} };

  type Client = TestLink['source']['client'];
  const VALUES: Record<string, { fillOne: (on: Client) => Promise<unknown>; write: (on: Client) => Promise<unknown> }> =
    {
      set: { fillOne: (on) => on.sadd(key, ...ELEMENTS), write: (on) => on.sadd(key, 'm1') },
      hash: {
        fillOne: (on) => on.hset(key, ...ELEMENTS.flatMap((field) => [field, 'v'])),
        write: (on) => on.multi().hset(key, 'm1', 'v').pexpire(key, 3_600_000).exec(),
      },
      list: { fillOne: (on) => on.rpush(key, ...ELEMENTS), write: (on) => on.rpush(key, 'm1') },
    };

  async function flushed({ fillOne, write }: (typeof VALUES)[string]): Promise<void> {
    for (const side of ['source', 'target'] as const) await Promise.all([fillOne(link[side].client), fill(side, 300)]);
    await link.source.client.flushall();
    await write(link.source.client);
  }

  test.each(Object.entries(VALUES))('never empties a large %s of the target', async (_type, value) => {
    await flushed(value);
    const error = errorOf(await reconcileLargeKey(link.sides, { key }, options));
    expect(error).toMatchObject({ type: 'SourceSuspicious', stage: 'compare' });
    await link.source.client.del(key);
    await value.fillOne(link.source.client);
    expect(await reconcileLargeKey(link.sides, { key }, options)).toEqual({ outcome: 'equal' });
  });

  test.each(Object.entries(VALUES))('lets a person allow it for a large %s', async (_type, value) => {
    await flushed(value);
    const result = await reconcileLargeKey(link.sides, { key, allowDelete: true }, options);
    expect(result).toMatchObject({ outcome: 'repaired' });
    expect(await compareRedis(link.source.client, link.target.client)).toHaveLength(300);
  });

  test('keeps what is left although a person vouched: for a set that had shrunk, not for one that was lost since', async () => {
    for (const side of ['source', 'target'] as const) await fill(side, 300);
    await link.source.client.sadd(key, ...ELEMENTS.slice(0, 3_000));
    await link.target.client.sadd(key, ...ELEMENTS);
    const lose = once(async () => {
      await link.source.client.flushall();
      await link.source.client.sadd(key, 'm1');
    });
    const target = intercept(link.sides.target, { 'after repair': lose });
    const sides = { ...link.sides, target };
    const result = await reconcileLargeKey(sides, { key, allowDelete: true }, options);
    expect(errorOf(result)).toMatchObject({ type: 'SourceSuspicious', stage: 'compare' });
    expect(await link.target.client.scard(key)).toBeGreaterThan(2_000);
  });

  test.each<[string, (on: Client) => Promise<unknown>]>([
    ['a text', (on) => on.set(key, 'm1')],
    ['a list', (on) => on.rpush(key, 'm1')],
    ['a hash', (on) => on.hset(key, 'm1', 'v')],
    ['a stream', (on) => on.xadd(key, '*', 'm1', 'v')],
  ])('never puts %s in the place of a large set', async (_type, write) => {
    await flushed({ ...VALUES.set!, write });
    const error = errorOf(await reconcileLargeKey(link.sides, { key }, options));
    expect(error).toMatchObject({ type: 'SourceSuspicious', stage: 'compare' });
    expect(await link.target.client.scard(key)).toBe(6_000);
    const allowed = await reconcileLargeKey(link.sides, { key, allowDelete: true }, options);
    expect(allowed).toMatchObject({ outcome: 'repaired' });
  });

  test('that has its other keys still is believed: its set did shrink', async () => {
    for (const side of ['source', 'target'] as const) await fill(side, 300);
    await link.target.client.sadd(key, ...ELEMENTS);
    await link.source.client.sadd(key, 'm1');
    expect(await reconcileLargeKey(link.sides, { key }, options)).toMatchObject({ outcome: 'repaired' });
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });
});

test('a source that restarted empty never empties the target', async () => {
  const source = await startRedis();
  const sides = { ...link.sides, source: connectRedis({ url: source.url }, { name: 'source' }) };
  await fill('target', 300);
  await source.client.mset(Array.from({ length: 300 }, (_, index) => [`k${index}`, 'v']).flat());
  expect(await reconcileOne(sides, 'k0')).toEqual({ outcome: 'equal' });
  await source.stop();
  const restarted = await startRedis([], { port: source.port });
  try {
    const keys = Array.from({ length: 300 }, (_, index) => ({ key: Buffer.from(`k${index}`) }));
    // The connection that was lost may fail a call; the one after it must not delete either.
    for (let call = 0; call < 2; call++) {
      const results = await reconcileKeys(sides, keys, DEFAULT_OPTIONS);
      expect(new Set(results.map(({ outcome }) => outcome))).toEqual(new Set(['failed']));
    }
    expect(errorOf(await reconcileOne(sides, 'k0')).type).toBe('SourceSuspicious');
    expect(await keysOf(link.target.client)).toHaveLength(300);
  } finally {
    await sides.source.close();
    await restarted.stop();
  }
});

describe('a failover of the source from an empty master to a full one', () => {
  let full: RedisServer;
  beforeAll(async () => {
    full = await startRedis();
    await full.client.mset(Array.from({ length: 50 }, (_, index) => [`k${index}`, 'v']).flat());
  });
  afterAll(() => full?.stop());

  /** The old master as long as nobody has called `failOver`, then the new one. */
  async function failingOver() {
    const next = connectRedis({ url: full.url }, { name: 'source' });
    await Promise.all([next.health(), link.sides.source.health()]);
    let present = link.sides.source;
    const source = new Proxy(present, {
      get(_, name) {
        if (name === 'connections') return link.sides.source.connections + (present === next ? 1 : 0);
        const of = (port: RedisPort) => Reflect.get(port, name, port) as unknown;
        if (typeof of(present) !== 'function') return of(present);
        return (...args: unknown[]) => (of(present) as (...args: unknown[]) => unknown).apply(present, args);
      },
    });
    const failOver = () => {
      present = next;
    };
    return { source, failOver, close: () => next.close() };
  }

  test.each([
    ['while it is read', 'after read'],
    ['while the guard asks', 'before health'],
  ] as const)('%s does not let the new one vouch for what the old one had lost', async (_when, hook) => {
    await fill('target', 50);
    const { source, failOver, close } = await failingOver();
    await link.target.client.config('RESETSTAT');
    try {
      const intercepted = intercept(source, { [hook]: once(failOver) });
      expect(await reconcileOne({ ...link.sides, source: intercepted }, 'k1')).toEqual({ outcome: 'equal' });
      expect(await link.target.client.info('commandstats')).not.toContain('cmdstat_unlink');
      expect(await keysOf(link.target.client)).toHaveLength(50);
    } finally {
      await close();
    }
  });

  test('while members are read does not let the old one be copied', async () => {
    await link.source.client.hset('h', 'f', 'of the old one');
    await Promise.all([full, link.target].map(({ client }) => client.hset('h', 'f', 'right')));
    const { source, failOver, close } = await failingOver();
    await link.target.client.config('RESETSTAT');
    try {
      const intercepted = intercept(source, { 'after read': once(failOver) });
      const scope = { kind: 'members', members: [Buffer.from('f')] } as const;
      expect(await reconcileOne({ ...link.sides, source: intercepted }, 'h', { scope })).toEqual({ outcome: 'equal' });
      expect(await link.target.client.info('commandstats')).not.toContain('cmdstat_hset');
    } finally {
      await close();
    }
  });

  test('does not lose what a person has allowed', async () => {
    await fill('target', 200);
    const { source, failOver, close } = await failingOver();
    try {
      const intercepted = intercept(source, { 'before read': once(failOver) });
      const result = await reconcileOne({ ...link.sides, source: intercepted }, 'k150', { allowDelete: true });
      expect(result).toMatchObject({ outcome: 'repaired', action: 'deleted' });
    } finally {
      await close();
    }
  });
});

describe('a source that loads a large RDB', () => {
  let source: RedisServer;
  let port: RedisPort;
  beforeEach(async () => {
    source = await startRedis(['--enable-debug-command', 'yes', '--enable-protected-configs', 'yes']);
    port = connectRedis({ url: source.url }, { name: 'source' });
    await source.client.call('DEBUG', 'POPULATE', '20000');
    await fill('target', 2);
    return async () => {
      await port.close();
      await source.stop();
    };
  });

  /** It answers LOADING for longer than the test takes. */
  async function load(): Promise<void> {
    await source.client.config('SET', 'key-load-delay', '1000');
    await source.client.config('SET', 'loading-process-events-interval-bytes', '1024');
    source.client.call('DEBUG', 'RELOAD').catch(() => {});
    await expect.poll(() => port.health()).toMatchObject({ code: 'LOADING' });
  }

  test('is not believed, and tried again later', async () => {
    await load();
    const error = errorOf(await reconcileOne({ ...link.sides, source: port }, 'k1'));
    expect(error).toMatchObject({ type: 'SourceUnavailable' });
    expect(await keysOf(link.target.client)).toHaveLength(2);
  });

  test('is noticed also when it began after the read and before the delete', async () => {
    const source = intercept(port, { 'after read': once(load) });
    const error = errorOf(await reconcileOne({ ...link.sides, source }, 'k1'));
    expect(error).toMatchObject({ type: 'SourceUnavailable', stage: 'compare' });
    expect(await keysOf(link.target.client)).toHaveLength(2);
  });
});

describe('a source that is a replica', () => {
  beforeEach(async () => {
    await fill('source', 2);
    await link.source.client.replicaof('127.0.0.1', 1);
  });

  test.each([
    ['for a key to restore', 'k1', false],
    ['for a key to delete, allowed or not', 'other', true],
  ])('is not believed %s', async (_name, key, allowDelete) => {
    await link.target.client.set('other', 'v');
    const error = errorOf(await link.reconcile(key, { allowDelete }));
    expect(error).toMatchObject({ type: 'SourceNotMaster', stage: 'read' });
    expect(error.message).toContain('is a replica, not a master; point the link at its master');
    expect(await keysOf(link.target.client)).toEqual(['other']);
  });

  test('is noticed also when it became one after the read and before the delete', async () => {
    await link.source.client.replicaof('NO', 'ONE');
    await link.target.client.set('other', 'v');
    const source = intercept(link.sides.source, {
      'after read': once(() => link.source.client.replicaof('127.0.0.1', 1)),
    });
    const error = errorOf(await reconcileOne({ source, target: link.sides.target }, 'other'));
    expect(error.type).toBe('SourceNotMaster');
    expect(await link.target.client.exists('other')).toBe(1);
  });
});

test('a target full of marks of its writers is not taken for larger than it is', async () => {
  await link.source.client.set('here', 'v');
  await link.target.client.mset('here', 'v', 'gone', 'v');
  const marks = Array.from({ length: 300 }, (_, mark) => [`keymend:writer:{${mark}}`, 'writer']);
  await link.target.client.mset(...marks.flat());
  expect(await link.reconcile('gone', DEFAULT_OPTIONS)).toMatchObject({ outcome: 'repaired', action: 'deleted' });
});
