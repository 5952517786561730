import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { compareRedis } from '../support/compare.js';
import { intercept, once, reconcileOne, resetWrites, startLink, type TestLink, writesOn } from './link.js';

const HOUR_MS = 3_600_000;
/** Between two commands a busy machine may let more time pass than two servers at work ever do. */
const TOLERANCE_MS = 30_000;

let link: TestLink;
beforeAll(async () => {
  // Expired keys stay in memory until somebody looks at them.
  const lazy = ['--enable-debug-command', 'yes'];
  link = await startLink(lazy, lazy);
  await link.source.client.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
  await link.target.client.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

test('a restored key has the absolute expiry of the source, to the millisecond', async () => {
  const at = Date.now() + HOUR_MS;
  await link.source.client.set('k', 'v', 'PXAT', at);
  await link.reconcile('k');
  expect(await link.target.client.call('PEXPIRETIME', 'k')).toBe(at);
});

test('a changed value brings its expiry, or the lack of one, with it', async () => {
  await link.source.client.set('k', 'new');
  await link.target.client.set('k', 'old', 'PX', HOUR_MS);
  expect(await link.reconcile('k')).toMatchObject({ action: 'restored' });
  expect(await link.target.client.pttl('k')).toBe(-1);
});

test('an expiry that only the target has is removed', async () => {
  await link.source.client.set('k', 'v');
  await link.target.client.set('k', 'v', 'PX', HOUR_MS);
  await resetWrites(link.target);
  expect(await link.reconcile('k')).toEqual({ outcome: 'repaired', action: 'expiry', type: 'string', bytes: 0 });
  expect(await writesOn(link.target)).toEqual({ persist: 1 });
  expect(await link.target.client.pttl('k')).toBe(-1);
});

test('an expiry that was extended on the source alone is a difference', async () => {
  const at = Date.now() + HOUR_MS;
  await link.source.client.set('k', 'v', 'PXAT', at + 60_000);
  await link.target.client.set('k', 'v', 'PXAT', at);
  expect(await link.reconcile('k')).toMatchObject({ action: 'expiry' });
  expect(await link.target.client.call('PEXPIRETIME', 'k')).toBe(at + 60_000);
});

test.each([
  [100, 100, 'equal'],
  [100, 101, 'repaired'],
  [0, 0, 'equal'],
  [0, 1, 'repaired'],
])('with a tolerance of %i ms, %i ms apart is %s', async (expiryToleranceMs, apart, outcome) => {
  const at = Date.now() + HOUR_MS;
  await link.source.client.set('k', 'v', 'PXAT', at);
  for (const target of [at - apart, at + apart]) {
    await link.target.client.set('k', 'v', 'PXAT', target);
    expect(await link.reconcile('k', { expiryToleranceMs })).toMatchObject({ outcome });
  }
});

test('a relative expiry does not drift: what was repaired once is equal each time after', async () => {
  await link.source.client.set('k', 'v', 'EX', 3600);
  expect(await link.reconcile('k', { expiryToleranceMs: 0 })).toMatchObject({ action: 'restored' });
  await resetWrites(link.target);
  for (let times = 0; times < 3; times++) {
    await sleep(5);
    expect(await link.reconcile('k', { expiryToleranceMs: 0 })).toEqual({ outcome: 'equal' });
  }
  expect(await writesOn(link.target)).toEqual({});
});

test('a relative expiry that both sides executed, one after the other, is equal', async () => {
  for (const { client } of [link.source, link.target]) await client.set('k', 'v', 'EX', 3600);
  await resetWrites(link.target);
  expect(await link.reconcile('k', { expiryToleranceMs: TOLERANCE_MS })).toEqual({ outcome: 'equal' });
  expect(await writesOn(link.target)).toEqual({});
});

test('a source key past its expiry is absent, although it is still in memory', async () => {
  await link.source.client.set('k', 'v', 'PX', 1);
  await link.target.client.set('k', 'v');
  await sleep(5);
  expect(await link.source.client.dbsize()).toBe(1);
  expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'deleted' });
  expect(await link.target.client.exists('k')).toBe(0);
});

test('a target key past its expiry is absent, although it is still in memory', async () => {
  await link.target.client.set('k', 'v', 'PX', 1);
  await sleep(5);
  expect(await link.target.client.dbsize()).toBe(1);
  expect(await link.reconcile('k')).toEqual({ outcome: 'equal' });
  await link.source.client.set('k', 'v');
  expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'restored' });
  expect(await link.target.client.get('k')).toBe('v');
});

test.each([
  ['the target had nothing', null, { outcome: 'equal' }],
  ['the target had another value', 'old', { outcome: 'repaired', action: 'deleted' }],
  ['the target had the value with another expiry', 'v', { outcome: 'repaired', action: 'deleted' }],
])('a key that expires between read and write is not resurrected: %s', async (_name, old, result) => {
  await link.source.client.set('k', 'v', 'PX', 20);
  if (old !== null) await link.target.client.set('k', old);
  const target = intercept(link.sides.target, { 'before repair': once(() => sleep(40)) });
  const outcome = await reconcileOne({ source: link.sides.source, target }, 'k');
  expect(outcome).toMatchObject(result);
  expect(await link.target.client.exists('k')).toBe(0);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

test('a key that expired on the target between compare and repair is restored', async () => {
  await link.source.client.set('k', 'new');
  await link.target.client.set('k', 'old', 'PX', 20);
  const target = intercept(link.sides.target, { 'before repair': once(() => sleep(40)) });
  expect(await reconcileOne({ source: link.sides.source, target }, 'k')).toMatchObject({ outcome: 'repaired' });
  expect(await link.target.client.get('k')).toBe('new');
});
