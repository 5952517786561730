/**
 * No repair replaces a newer value by an older one: live writes at every point between the engine's
 * steps.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { connectRedis, type RedisPort } from '../../src/redis/index.js';
import { compareRedis } from '../support/compare.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { intercept, once, reconcileOne, resetWrites, startLink, type TestLink, writesOn } from './link.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

/** What a dual writer does: the source first, then the target. */
async function dualWrite(value: string): Promise<void> {
  await link.source.client.set('k', value);
  await link.target.client.set('k', value);
}

async function diverge(): Promise<void> {
  await link.source.client.set('k', 'new');
  await link.target.client.set('k', 'old');
}

async function values(): Promise<(string | null)[]> {
  return [await link.source.client.get('k'), await link.target.client.get('k')];
}

describe('a dual write that lands on both sides is never undone', () => {
  const points: [string, (write: () => Promise<unknown>) => { source: RedisPort; target: RedisPort }][] = [
    [
      'after the target was observed',
      (write) => ({
        source: link.sides.source,
        target: intercept(link.sides.target, { 'after inspect': once(write) }),
      }),
    ],
    [
      'before the source is read',
      (write) => ({
        source: intercept(link.sides.source, { 'before read': once(write) }),
        target: link.sides.target,
      }),
    ],
    [
      'after the source was read',
      (write) => ({
        source: intercept(link.sides.source, { 'after read': once(write) }),
        target: link.sides.target,
      }),
    ],
    [
      'before the repair',
      (write) => ({
        source: link.sides.source,
        target: intercept(link.sides.target, { 'before repair': once(write) }),
      }),
    ],
  ];

  test.each(points)('%s', async (_name, hook) => {
    await diverge();
    await resetWrites(link.target);
    const result = await reconcileOne(
      hook(() => dualWrite('newest')),
      'k',
    );
    expect(result).toEqual({ outcome: 'equal' });
    expect(await writesOn(link.target)).toEqual({});
    expect(await values()).toEqual(['newest', 'newest']);
  });

  test('between the first reading step and the second, whichever they are', async () => {
    await diverge();
    await resetWrites(link.target);
    let reads = 0;
    const afterFirst = () => (reads++ === 0 ? dualWrite('newest') : undefined);
    const sides = {
      source: intercept(link.sides.source, { 'after read': afterFirst }),
      target: intercept(link.sides.target, { 'after inspect': afterFirst }),
    };
    expect(await reconcileOne(sides, 'k')).toEqual({ outcome: 'equal' });
    expect(await writesOn(link.target)).toEqual({});
    expect(await values()).toEqual(['newest', 'newest']);
  });

  test('when it is a new expiry', async () => {
    const soon = Date.now() + 60_000;
    await link.source.client.set('k', 'v', 'PXAT', soon);
    await link.target.client.set('k', 'v');
    const newest = async () => {
      await link.source.client.pexpireat('k', soon + 60_000);
      await link.target.client.pexpireat('k', soon + 60_000);
    };
    const target = intercept(link.sides.target, { 'before repair': once(newest) });
    expect(await reconcileOne({ source: link.sides.source, target }, 'k')).toEqual({ outcome: 'equal' });
    expect(await link.target.client.call('PEXPIRETIME', 'k')).toBe(soon + 60_000);
  });

  test('when it creates a key that was about to be deleted', async () => {
    await link.target.client.set('k', 'old');
    const target = intercept(link.sides.target, { 'before repair': once(() => dualWrite('newest')) });
    expect(await reconcileOne({ source: link.sides.source, target }, 'k')).toEqual({ outcome: 'equal' });
    expect(await values()).toEqual(['newest', 'newest']);
  });

  test('when it deletes a key that was about to be restored', async () => {
    await link.source.client.set('k', 'new');
    await link.target.client.set('k', 'old');
    const remove = async () => {
      await link.source.client.del('k');
      await link.target.client.del('k');
    };
    const target = intercept(link.sides.target, { 'before repair': once(remove) });
    expect(await reconcileOne({ source: link.sides.source, target }, 'k')).toEqual({ outcome: 'equal' });
    expect(await values()).toEqual([null, null]);
  });
});

test('a value that comes back between compare and repair does not hide the newer write', async () => {
  // The target holds A. The source becomes B, is read, becomes A again; both writes then reach the
  // target: B, A.
  await link.target.client.set('k', 'A');
  await link.source.client.set('k', 'B');
  const meanwhile = async () => {
    await link.source.client.set('k', 'A');
    await link.target.client.set('k', 'B');
    await link.target.client.set('k', 'A');
  };
  const source = intercept(link.sides.source, { 'after read': once(meanwhile) });
  expect(await reconcileOne({ source, target: link.sides.target }, 'k')).toMatchObject({ outcome: 'repaired' });
  expect(await values()).toEqual(['A', 'A']);
});

test('a repair after which the source moved on is followed by another', async () => {
  await diverge();
  const target = intercept(link.sides.target, { 'after repair': once(() => link.source.client.set('k', 'newest')) });
  expect(await reconcileOne({ source: link.sides.source, target }, 'k')).toMatchObject({ outcome: 'repaired' });
  expect(await values()).toEqual(['newest', 'newest']);
});

test('a repair after which the expiry of the source moved on is followed by another', async () => {
  const soon = Date.now() + 3_600_000;
  await link.source.client.set('k', 'v', 'PXAT', soon);
  await link.target.client.set('k', 'old');
  const later = () => link.source.client.pexpireat('k', soon + 3_600_000);
  const target = intercept(link.sides.target, { 'after repair': once(later) });
  expect(await reconcileOne({ source: link.sides.source, target }, 'k')).toMatchObject({ outcome: 'repaired' });
  expect(await link.target.client.pexpiretime('k')).toBe(soon + 3_600_000);
});

test('a repair counts as one, although the key changed twice behind it', async () => {
  await diverge();
  const target = intercept(link.sides.target, {
    'after repair': once(() => link.source.client.set('k', 'newest')),
    'before repair': (call) => (call === 1 ? link.target.client.set('k', 'newest') : undefined),
  });
  expect(await reconcileOne({ source: link.sides.source, target }, 'k')).toMatchObject({ outcome: 'repaired' });
  expect(await values()).toEqual(['newest', 'newest']);
});

test('a key that changes in every round is Contended, with the live value in place, and may be tried again', async () => {
  await diverge();
  const target = intercept(link.sides.target, {
    'before repair': (call) => link.target.client.set('k', `live ${call}`),
  });
  const result = await reconcileOne({ source: link.sides.source, target }, 'k');
  expect(result).toMatchObject({ outcome: 'failed', error: { type: 'Contended', stage: 'write' } });
  expect(await link.target.client.get('k')).toBe('live 4');
});

test('one key that keeps changing does not fail the others of its batch', async () => {
  const { reconcileKeys } = await import('../../src/engine/index.js');
  await diverge();
  await link.source.client.set('quiet', 'v');
  const target = intercept(link.sides.target, {
    'before repair': (call) => link.target.client.set('k', `live ${call}`),
  });
  const results = await reconcileKeys(
    { source: link.sides.source, target },
    [{ key: Buffer.from('k') }, { key: Buffer.from('quiet') }],
    { expiryToleranceMs: 100, deleteGuard: { minimumRatio: 0.5, minimumGap: 10 } },
  );
  expect(results.map(({ outcome }) => outcome)).toEqual(['failed', 'repaired']);
});

test('under a live dual writer that loses writes, no acknowledged value is ever undone, and all converges', async () => {
  const keys = Array.from({ length: 8 }, (_, index) => `live:${index}`);
  const acknowledged = new Map(keys.map((key) => [key, 0]));
  let writing = true;

  // Values only grow, so a smaller one than was acknowledged is an older one.
  const write = async (key: string) => {
    for (let value = 1; writing; value++) {
      await link.source.client.set(key, value);
      if (Math.random() < 0.3) continue;
      await link.target.client.set(key, value);
      acknowledged.set(key, value);
      if (Math.random() < 0.2) await sleep(1);
    }
  };
  const undone: string[] = [];
  const watch = async () => {
    while (writing) {
      const floors = keys.map((key) => acknowledged.get(key)!);
      const seen = await link.target.client.mget(keys);
      seen.forEach((value, index) => {
        if (Number(value) < floors[index]!) undone.push(`${keys[index]}: ${value} after ${floors[index]}`);
      });
    }
  };
  const reconcile = async () => {
    const outcomes = new Map<string, number>();
    for (let pass = 0; pass < 40; pass++) {
      const results = await Promise.all(keys.map((key) => link.reconcile(key)));
      for (const { outcome } of results) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    writing = false;
    return outcomes;
  };
  const [outcomes] = await Promise.all([reconcile(), watch(), ...keys.map(write)]);

  expect(undone).toEqual([]);
  expect(outcomes.get('repaired')).toBeGreaterThan(0);
  await Promise.all(keys.map((key) => link.reconcile(key)));
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

test('two reconciles of one key at once do no harm', async () => {
  for (let round = 0; round < 20; round++) {
    await diverge();
    const results = await Promise.all(Array.from({ length: 5 }, () => link.reconcile('k')));
    expect(results.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
    expect(await values()).toEqual(['new', 'new']);
  }
});

describe('a source that another server has replaced since it was read', () => {
  /** As behind a name, or Sentinels: the same address, the same value, another process. */
  async function replaced(write: (client: Redis) => Promise<unknown>) {
    const first = await startRedis();
    let second: RedisServer | undefined;
    const source = connectRedis({ url: first.url }, { name: 'source', commandTimeoutMs: 30_000 });
    onTestFinished(async () => {
      await source.close();
      await Promise.all([first.stop(), second?.stop()]);
    });
    await write(first.client);
    const replace = once(async () => {
      await first.stop();
      second = await startRedis([], { port: first.port });
      await write(second.client);
    });
    let reads = 0;
    const counted = intercept(source, {
      'before read': () => {
        reads += 1;
      },
    });
    return { source: counted, replace, reads: () => reads };
  }

  test('confirms nothing: the key is compared once more', async () => {
    const { source, replace, reads } = await replaced((client) => client.set('k', 'new'));
    await link.target.client.set('k', 'old');
    const target = intercept(link.sides.target, { 'after repair': replace });
    expect(await reconcileOne({ source, target }, 'k')).toMatchObject({ outcome: 'repaired' });
    expect(reads()).toBe(2);
    expect(await link.target.client.get('k')).toBe('new');
  });

  test('nor does it confirm a member', async () => {
    const { source, replace, reads } = await replaced((client) => client.hset('k', 'f', 'new'));
    await link.target.client.hset('k', 'f', 'old');
    const target = intercept(link.sides.target, { 'after repair': replace });
    const scope = { kind: 'members' as const, members: [Buffer.from('f')] };
    expect(await reconcileOne({ source, target }, 'k', { scope })).toMatchObject({ outcome: 'repaired' });
    // Before and behind each repair; the second one finds nothing to do.
    expect(reads()).toBe(3);
  });
});
