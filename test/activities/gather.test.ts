/** First attempts that are asked for at the same time, with real servers. */
import type { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { EndedResult } from '../../activities/effect.js';
import { intercept, once, startLink, type TestLink } from '../engine/link.js';
import { activitiesOf, firstAttempt } from './first-attempt.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink([], [], { largeValues: { elements: 100, bytes: 20_000 } });
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

const NAMES = Array.from({ length: 20 }, (_, index) => `k${index}`);

/** Fills the source with keys that the target lacks. */
async function diverge(names: readonly string[]) {
  await link.source.client.mset(Object.fromEntries(names.map((name) => [name, `of ${name}`])));
}

test('attempts of one moment ask each side once, and each has its own reply', async () => {
  await diverge(NAMES.slice(1));
  const calls: string[] = [];
  const counting = (side: 'source' | 'target') =>
    intercept(link.sides[side], {
      'before inspect': () => calls.push(`${side} inspect`),
      'before read': () => calls.push(`${side} read`),
      'before repair': () => calls.push(`${side} repair`),
    });
  const told: EndedResult[] = [];
  const activities = activitiesOf({ ...link.sides, source: counting('source'), target: counting('target') }, told);
  const replies = await Promise.all(NAMES.map((name) => firstAttempt(activities, name).reply));
  expect(replies.map(({ outcome }) => outcome)).toEqual(['equal', ...NAMES.slice(1).map(() => 'repaired')]);
  expect(calls).toEqual(['target inspect', 'source read', 'target repair', 'source inspect']);
  expect(told).toHaveLength(NAMES.length);
  expect(await link.target.client.mget(NAMES)).toEqual([null, ...NAMES.slice(1).map((name) => `of ${name}`)]);
});

test('those that come while a call hangs do not wait for its end', async () => {
  await diverge(NAMES);
  let resume!: () => void;
  const hangs = new Promise<void>((resolve) => {
    resume = resolve;
  });
  let entered!: () => void;
  const isHanging = new Promise<void>((resolve) => {
    entered = resolve;
  });
  const hang = () => {
    entered();
    return hangs;
  };
  const activities = activitiesOf({
    ...link.sides,
    target: intercept(link.sides.target, { 'before inspect': once(hang) }),
  });
  const first = firstAttempt(activities, 'k0').reply;
  await isHanging;
  const others = NAMES.slice(1).map((name) => firstAttempt(activities, name).reply);
  for (const { outcome } of await Promise.all(others)) expect(outcome).toBe('repaired');
  resume();
  expect(await first).toMatchObject({ outcome: 'repaired' });
});

test('a key that changes in every round holds up none of those that were asked for with it', async () => {
  await diverge(NAMES);
  const ended: string[] = [];
  let endsBefore: readonly string[] = [];
  // After each look of the target, and at once on both sides so that it stays different.
  const change = async (round: number) => {
    if (round > 0) endsBefore = [...ended];
    await link.target.client.set('k0', `live ${round}`);
  };
  const activities = activitiesOf({ ...link.sides, target: intercept(link.sides.target, { 'after inspect': change }) });
  const all = NAMES.map((name) => firstAttempt(activities, name).reply.finally(() => ended.push(name)));
  const [hot, ...others] = await Promise.allSettled(all);
  expect(hot).toMatchObject({ status: 'rejected', reason: { type: 'Contended' } });
  for (const other of others) expect(other).toMatchObject({ status: 'fulfilled', value: { outcome: 'repaired' } });
  expect([...endsBefore].sort()).toEqual(NAMES.slice(1).sort());
});

test('one that is cancelled writes nothing more, and the others are repaired', async () => {
  await diverge(NAMES);
  const cancelled: MockActivityEnvironment[] = [];
  const source = intercept(link.sides.source, { 'after read': once(() => cancelled[0]!.cancel()) });
  const told: EndedResult[] = [];
  const activities = activitiesOf({ ...link.sides, source }, told);
  const all = NAMES.map((name) => firstAttempt(activities, name));
  cancelled.push(all[0]!.environment);
  const [first, ...others] = await Promise.allSettled(all.map(({ reply }) => reply));
  expect(first).toMatchObject({ status: 'rejected', reason: { name: 'CancelledFailure' } });
  for (const other of others) expect(other).toMatchObject({ value: { outcome: 'repaired' } });
  expect(await link.target.client.mget('k0', 'k1')).toEqual([null, 'of k1']);
  expect(told).toHaveLength(NAMES.length - 1);
});

test('one that is cancelled while its write is on the way is mended, and its neighbours are what they are', async () => {
  await diverge(NAMES);
  const cancelled: MockActivityEnvironment[] = [];
  const target = intercept(link.sides.target, {
    'before repair': once(() => cancelled[0]!.cancel()),
    'after repair': once(() => link.source.client.set('k0', 'newer')),
  });
  const activities = activitiesOf({ ...link.sides, target });
  const all = NAMES.map((name) => firstAttempt(activities, name));
  cancelled.push(all[0]!.environment);
  for (const reply of await Promise.all(all.map(({ reply }) => reply))) expect(reply.outcome).toBe('repaired');
  expect(await link.target.client.mget('k0', 'k1')).toEqual(['newer', 'of k1']);
});

test('a person’s word for a delete is for that key alone', async () => {
  await link.target.client.mset(Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`old${index}`, 'x'])));
  const activities = activitiesOf(link.sides);
  const vouched = firstAttempt(activities, 'old0', { allowDelete: true }).reply;
  const other = firstAttempt(activities, 'old1').reply;
  await expect(other).rejects.toMatchObject({ type: 'SourceSuspicious' });
  expect(await vouched).toMatchObject({ outcome: 'repaired', summary: expect.stringContaining('deleted') });
  expect(await link.target.client.mget('old0', 'old1')).toEqual([null, 'x']);
});

test('a value that is large is left to a durable attempt, and its neighbours are repaired', async () => {
  await link.source.client.sadd('large', ...Array.from({ length: 500 }, (_, index) => `m${index}`));
  await diverge(NAMES);
  const activities = activitiesOf(link.sides);
  const large = firstAttempt(activities, 'large').reply;
  const others = NAMES.map((name) => firstAttempt(activities, name).reply);
  expect(await large).toEqual({ outcome: 'large' });
  for (const { outcome } of await Promise.all(others)) expect(outcome).toBe('repaired');
});

test('an unexpected error of a call is that of each attempt in it, and of no later one', async () => {
  await diverge(NAMES);
  const bug = once(() => {
    throw new Error('a bug');
  });
  const activities = activitiesOf({ ...link.sides, target: intercept(link.sides.target, { 'before inspect': bug }) });
  for (const end of await Promise.allSettled(NAMES.map((name) => firstAttempt(activities, name).reply)))
    expect(end).toMatchObject({ status: 'rejected', reason: { message: 'a bug' } });
  expect(await firstAttempt(activities, 'k0').reply).toMatchObject({ outcome: 'repaired' });
});
