import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type KeyRequest, reconcileKeys } from '../../src/engine/index.js';
import { compareRedis } from '../support/compare.js';
import { DEFAULT_OPTIONS, intercept, once, startLink, type TestLink } from './link.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

function requests(keys: readonly string[]): KeyRequest[] {
  return keys.map((key) => ({ key: Buffer.from(key) }));
}

test('no keys are no work', async () => {
  expect(await reconcileKeys(link.sides, [], DEFAULT_OPTIONS)).toEqual([]);
});

test('results come in the order of the requests, over several batches', async () => {
  const keys = Array.from({ length: 1_700 }, (_, index) => `k${index}`);
  const [source, target] = [link.source.client.pipeline(), link.target.client.pipeline()];
  keys.forEach((key, index) => {
    source.set(key, 'v');
    if (index % 3 === 0) target.set(key, 'v');
    if (index % 3 === 1) target.set(key, 'old');
  });
  await Promise.all([source.exec(), target.exec()]);
  const results = await reconcileKeys(link.sides, requests(keys), DEFAULT_OPTIONS);
  expect(results.map(({ outcome }) => outcome)).toEqual(
    keys.map((_, index) => (index % 3 === 0 ? 'equal' : 'repaired')),
  );
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

test('250 keys cost a handful of calls, not one each', async () => {
  const keys = Array.from({ length: 250 }, (_, index) => `k${index}`);
  await link.source.client.mset(...keys.flatMap((key) => [key, 'v']));
  const calls: string[] = [];
  const count = (name: string) => () => calls.push(name);
  const sides = {
    source: intercept(link.sides.source, { 'before inspect': count('look again'), 'before read': count('read') }),
    target: intercept(link.sides.target, { 'before inspect': count('observe'), 'before repair': count('repair') }),
  };
  const results = await reconcileKeys(sides, requests(keys), DEFAULT_OPTIONS);
  expect(results.every(({ outcome }) => outcome === 'repaired')).toBe(true);
  expect(calls).toEqual(['observe', 'read', 'repair', 'look again']);
});

test('the same key twice in one batch ends equal', async () => {
  await link.source.client.set('k', 'new');
  const results = await reconcileKeys(link.sides, requests(['k', 'k', 'k']), DEFAULT_OPTIONS);
  expect(results.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
  expect(await link.target.client.get('k')).toBe('new');
});

test('large values travel in several calls, so that none is huge', async () => {
  const keys = Array.from({ length: 12 }, (_, index) => `k${index}`);
  for (const key of keys) await link.source.client.set(key, key.repeat(300_000));
  const reads: number[] = [];
  const source = intercept(link.sides.source, { 'before read': (call) => reads.push(call) });
  const results = await reconcileKeys({ source, target: link.sides.target }, requests(keys), DEFAULT_OPTIONS);
  expect(results.every(({ outcome }) => outcome === 'repaired')).toBe(true);
  expect(reads.length).toBeGreaterThan(1);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

test('a huge value in front of small ones does not make each of these travel alone', async () => {
  const keys = Array.from({ length: 250 }, (_, index) => `k${index}`);
  await link.source.client.mset(...keys.flatMap((key) => [key, 'v']));
  await link.source.client.set('k0', 'v'.repeat(1_048_575));
  let observed = 0;
  const target = intercept(link.sides.target, { 'before inspect': () => observed++ });
  const results = await reconcileKeys({ source: link.sides.source, target }, requests(keys), DEFAULT_OPTIONS);
  expect(results.every(({ outcome }) => outcome === 'repaired')).toBe(true);
  expect(observed).toBeGreaterThan(1);
  expect(observed).toBeLessThanOrEqual(12);
});

test('a huge field in front of small ones does not make each of these travel alone', async () => {
  const keys = Array.from({ length: 250 }, (_, index) => `k${index}`);
  for (const side of [link.source, link.target]) {
    const pipeline = side.client.pipeline();
    for (const key of keys) pipeline.hset(key, 'f', side === link.source ? 'new' : 'old');
    await pipeline.exec();
  }
  await link.source.client.hset('k0', 'f', 'v'.repeat(1_000_000));
  const ofFields = keys.map(
    (key): KeyRequest => ({ key: Buffer.from(key), scope: { kind: 'members', members: [Buffer.from('f')] } }),
  );
  let observed = 0;
  const target = intercept(link.sides.target, { 'before inspect': () => observed++ });
  const results = await reconcileKeys({ source: link.sides.source, target }, ofFields, DEFAULT_OPTIONS);
  expect(results.every(({ outcome }) => outcome === 'repaired')).toBe(true);
  expect(observed).toBeLessThanOrEqual(12);
});

test('scripts that a server forgets, or a restarted one never knew, are sent again', async () => {
  await link.source.client.set('k', '1');
  expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired' });
  await link.source.client.set('k', '2');
  const target = intercept(link.sides.target, { 'before repair': once(() => link.target.client.script('FLUSH')) });
  await link.source.client.script('FLUSH');
  const [result] = await reconcileKeys({ source: link.sides.source, target }, requests(['k']), DEFAULT_OPTIONS);
  expect(result).toMatchObject({ outcome: 'repaired' });
  expect(await link.target.client.get('k')).toBe('2');
});

test('an error of one key is its own', async () => {
  await link.source.client.set('ok', 'v');
  await link.source.client.set('no', 'v');
  await link.target.client.call('ACL', 'SETUSER', 'default', 'resetkeys', '~ok');
  try {
    const results = await reconcileKeys(link.sides, requests(['no', 'ok']), DEFAULT_OPTIONS);
    expect(results).toMatchObject([
      { outcome: 'failed', error: { type: 'NoPermission', stage: 'read' } },
      { outcome: 'repaired' },
    ]);
  } finally {
    await link.target.client.call('ACL', 'SETUSER', 'default', 'allkeys');
  }
});

test('an aborted signal ends it before the next step, with the signal’s reason', async () => {
  await link.source.client.set('k', 'v');
  const controller = new AbortController();
  const target = intercept(link.sides.target, { 'after inspect': () => controller.abort(new Error('enough')) });
  const options = { ...DEFAULT_OPTIONS, signal: controller.signal };
  const sides = { source: link.sides.source, target };
  await expect(reconcileKeys(sides, requests(['k']), options)).rejects.toThrow('enough');
  expect(await link.target.client.exists('k')).toBe(0);
});
