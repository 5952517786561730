/** What a first attempt has written, it compares again itself where `settle` is short. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { EndedResult } from '../../activities/effect.js';
import { ATTEMPTS_AT_ONCE, VERIFYING_AT_ONCE } from '../../activities/slots.js';
import type { Activities, ReconcileReply, ReconcileRequest } from '../../workflows/activities.js';
import { intercept, once, portWith, startLink, type TestLink } from '../engine/link.js';
import { activitiesOf, firstAttempt as attempt, losingAnswers } from './first-attempt.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

const AFTER_MS = 300;

/** A first attempt at a key of unknown outcome. */
function firstAttempt(
  activities: Activities,
  key: string,
  changes: Partial<ReconcileRequest> = {},
  timeoutMs?: number,
) {
  return attempt(activities, key, { verify: { afterMs: AFTER_MS, always: true }, ...changes }, timeoutMs);
}

/** When each step began, and what happens then. */
function watched(hooks: Parameters<typeof intercept>[1] = {}) {
  const looks: number[] = [];
  const target = intercept(link.sides.target, {
    ...hooks,
    'before inspect': async (call) => {
      looks.push(performance.now());
      await hooks['before inspect']?.(call);
    },
  });
  return { looks, sides: { ...link.sides, target } };
}

test('a repair is compared again as long behind it as it is asked for, and told of once', async () => {
  await link.source.client.set('k', 'v');
  const { looks, sides } = watched();
  const told: EndedResult[] = [];
  const { reply } = firstAttempt(activitiesOf(sides, told), 'k');
  expect(await reply).toMatchObject({ outcome: 'repaired', verified: true, attempt: 1 });
  expect(looks).toHaveLength(2);
  expect(looks[1]! - looks[0]!).toBeGreaterThanOrEqual(AFTER_MS);
  expect(told).toMatchObject([{ outcome: 'repaired' }]);
});

test('a late write that lands behind the repair is mended, and the workflow is left to verify that', async () => {
  await link.source.client.set('k', 'v');
  const { looks, sides } = watched({ 'after repair': once(() => link.target.client.set('k', 'late')) });
  const told: EndedResult[] = [];
  const reply = await firstAttempt(activitiesOf(sides, told), 'k').reply;
  expect(reply).toMatchObject({ outcome: 'repaired' });
  expect(reply).not.toHaveProperty('verified');
  expect(looks).toHaveLength(2);
  expect(told.map(({ outcome }) => outcome)).toEqual(['repaired', 'repaired']);
  expect(await link.target.client.get('k')).toBe('v');
});

test('an attempt that is made again, because the server did not take its task, remembers that it has written', async () => {
  await link.source.client.set('k', 'v');
  const activities = activitiesOf(link.sides);
  const again = () => attempt(activities, 'k', {}, undefined, 'the same').reply;
  expect(await again()).not.toHaveProperty('earlier');
  expect(await again()).toMatchObject({ outcome: 'equal', earlier: 'wrote' });
  expect(await attempt(activities, 'k').reply).not.toHaveProperty('earlier');
});

test('one that had written a list asks for another look, and one that failed says that nothing is known', async () => {
  await link.source.client.rpush('list', 'a');
  const activities = activitiesOf(link.sides);
  const again = () => attempt(activities, 'list', {}, undefined, 'of the list').reply;
  expect(await again()).toMatchObject({ outcome: 'repaired', lookAgain: true });
  expect(await again()).toMatchObject({ outcome: 'equal', earlier: 'wrote', lookAgain: true });

  const { sides } = watched({ 'after repair': once(() => Promise.reject(new Error('a fault of this test'))) });
  const failing = activitiesOf(sides);
  const other = () => attempt(failing, 'other', {}, undefined, 'of the other').reply;
  await link.source.client.set('other', 'v');
  await expect(other()).rejects.toThrow('a fault of this test');
  expect(await other()).toMatchObject({ outcome: 'equal', earlier: 'unknown', lookAgain: true });
});

test.each([
  ['nothing was written', async () => void (await link.target.client.set('k', 'v')), {}, 5_000],
  ['it is not asked for', async () => {}, { verify: undefined }, 5_000],
  ['it is asked for lists alone', async () => {}, { verify: { afterMs: AFTER_MS, always: false } }, 5_000],
  ['wait and second look do not fit into the activity', async () => {}, {}, AFTER_MS + 1_000],
])('there is one look alone where %s', async (_why, prepare, changes, timeoutMs) => {
  await link.source.client.set('k', 'v');
  await prepare();
  const { looks, sides } = watched();
  const reply = await firstAttempt(activitiesOf(sides), 'k', changes, timeoutMs).reply;
  expect(reply).not.toHaveProperty('verified');
  expect(looks).toHaveLength(1);
});

test('a list is looked at again whatever the failed writes were', async () => {
  await link.source.client.rpush('list', 'a', 'b');
  const changes = { verify: { afterMs: AFTER_MS, always: false } };
  const reply = await firstAttempt(activitiesOf(link.sides), 'list', changes).reply;
  expect(reply).toMatchObject({ outcome: 'repaired', lookAgain: true, verified: true });
});

test('a second look that fails takes nothing from the repair, which is then not verified', async () => {
  await link.source.client.set('k', 'v');
  const { sides } = watched({
    'before inspect': async (call) => {
      if (call === 1) await link.target.client.config('SET', 'maxmemory', '1', 'maxmemory-policy', 'noeviction');
      if (call === 1) await link.source.client.set('k', 'a newer one');
    },
  });
  try {
    const told: EndedResult[] = [];
    const reply = await firstAttempt(activitiesOf(sides, told), 'k').reply;
    expect(reply).toMatchObject({ outcome: 'repaired' });
    expect(reply).not.toHaveProperty('verified');
    expect(reply).not.toHaveProperty('earlier');
    expect(told).toHaveLength(1);
  } finally {
    await link.target.client.config('SET', 'maxmemory', '0');
  }
});

test('a second look that takes too long is given up before its write, and the repair is told of', async () => {
  await link.source.client.set('k', 'v');
  const timeoutMs = AFTER_MS + 4_000;
  const { sides } = watched({
    'after repair': once(() => link.target.client.set('k', 'late')),
    // Longer than the activity has, as a command does that hangs.
    'after inspect': (call) => (call === 1 ? sleep(timeoutMs) : undefined),
  });
  const reply = await firstAttempt(activitiesOf(sides), 'k', {}, timeoutMs).reply;
  // It is at work still.
  expect(reply).toMatchObject({ outcome: 'repaired', earlier: 'unknown' });
  expect(reply).not.toHaveProperty('verified');
  expect(await link.target.client.get('k')).toBe('late');
});

test('of a second look that ends by a fault, or whose write gets no answer, nothing is known', async () => {
  const late = once(() => link.target.client.set('k', 'late'));
  const fault = (call: number) => (call === 1 ? Promise.reject(new Error('a fault of this test')) : undefined);
  for (const target of [
    intercept(link.sides.target, { 'before inspect': fault }),
    intercept(losingAnswers(link.sides.target, 2), { 'after repair': late }),
  ]) {
    await link.clear();
    await link.source.client.set('k', 'v');
    const reply = await firstAttempt(activitiesOf({ ...link.sides, target }), 'k').reply;
    expect(reply).toMatchObject({ outcome: 'repaired', earlier: 'unknown' });
    expect(reply).not.toHaveProperty('verified');
  }
});

test('an attempt that is cancelled while it waits ends at once, as cancelled', async () => {
  await link.source.client.set('k', 'v');
  const { looks, sides } = watched();
  const told: EndedResult[] = [];
  const verify = { afterMs: 2_000, always: true };
  const { reply, environment } = firstAttempt(activitiesOf(sides, told), 'k', { verify }, 10_000);
  const ended = expect(reply).rejects.toMatchObject({ name: 'CancelledFailure' });
  await expect.poll(() => told.length).toBe(1);
  environment.cancel();
  await ended;
  expect(looks).toHaveLength(1);
});

test('a slot that waits is no slot that works, and who finds no room to wait does not', async () => {
  const names = Array.from({ length: VERIFYING_AT_ONCE + 1 }, (_, index) => `k${index}`);
  await link.source.client.mset(Object.fromEntries(names.map((name) => [name, 'v'])));
  const told: EndedResult[] = [];
  const activities = activitiesOf(link.sides, told);
  const ask = (name: string) =>
    firstAttempt(activities, name, { verify: { afterMs: 3_600_000, always: true } }, 7_200_000);
  const waiting: ReturnType<typeof firstAttempt>[] = [];
  // As many at once as there are slots; they do not keep them while they wait.
  for (let first = 0; first < VERIFYING_AT_ONCE; first += ATTEMPTS_AT_ONCE) {
    const some = names.slice(first, Math.min(first + ATTEMPTS_AT_ONCE, VERIFYING_AT_ONCE));
    waiting.push(...some.map(ask));
    await expect.poll(() => told.length).toBe(waiting.length);
  }
  const last = await ask(names.at(-1)!).reply;
  expect(last).toMatchObject({ outcome: 'repaired' });
  expect(last).not.toHaveProperty('verified');
  for (const { environment } of waiting) environment.cancel();
  await Promise.allSettled(waiting.map(({ reply }) => reply));
});

test('those who look again at the same time wait for a slot each', async () => {
  const names = Array.from({ length: VERIFYING_AT_ONCE }, (_, index) => `k${index}`);
  await link.source.client.mset(Object.fromEntries(names.map((name) => [name, 'v'])));
  const told: EndedResult[] = [];
  const activities = activitiesOf(link.sides, told);
  const verify = { afterMs: 1_000, always: true };
  const replies: Promise<ReconcileReply>[] = [];
  for (let first = 0; first < names.length; first += ATTEMPTS_AT_ONCE) {
    const some = names.slice(first, first + ATTEMPTS_AT_ONCE);
    replies.push(...some.map((name) => firstAttempt(activities, name, { verify }, 60_000).reply));
    await expect.poll(() => told.length).toBe(replies.length);
  }
  for (const reply of await Promise.all(replies)) expect(reply).toMatchObject({ verified: true });
});

test('a person’s word for a delete does not hold for the second look', async () => {
  await link.source.client.mset({ k: 'v' });
  await link.target.client.mset(Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`old${index}`, 'x'])));
  const { sides } = watched({ 'after repair': once(() => link.source.client.del('k')) });
  // Behind the repair the engine itself looks once more, without the word.
  await firstAttempt(activitiesOf(sides), 'k', { allowDelete: true }).reply.catch(() => {});
  expect(await link.target.client.get('k')).toBe('v');
});

test('a budget without room for the second look leaves it to the workflow', async () => {
  await link.source.client.set('k', 'v');
  let asked = 0;
  const target = portWith(link.sides.target, {
    admit: async (...args) =>
      ++asked > 1 ? { kind: 'deferred', retryAfterMs: 5_000, outage: null } : link.sides.target.admit(...args),
  });
  const reply = await firstAttempt(activitiesOf({ ...link.sides, target }), 'k').reply;
  expect(reply).toMatchObject({ outcome: 'repaired' });
  expect(reply).not.toHaveProperty('verified');
  expect(asked).toBe(2);
});

test('of a cache, what was found equal is looked at again as well, and what the second look writes is told', async () => {
  await link.source.client.set('k', 'v');
  await link.target.client.set('k', 'v');
  const { looks, sides } = watched({
    'after inspect': once(() => link.target.client.set('k', 'old')),
  });
  const verify = { afterMs: AFTER_MS, always: true, alsoEqual: true };
  const { reply } = firstAttempt(activitiesOf(sides), 'k', { verify });
  expect(await reply).toMatchObject({ outcome: 'equal', earlier: 'wrote' });
  expect(looks).toHaveLength(2);
  expect(await link.target.client.get('k')).toBe('v');
  const again = firstAttempt(activitiesOf(link.sides), 'k', { verify });
  expect(await again.reply).toMatchObject({ outcome: 'equal', verified: true });
});
