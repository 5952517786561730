/** What one link may hold of a worker, with real servers. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import pMap from 'p-map';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { create } from '../../activities/index.js';
import { ATTEMPTS_AT_ONCE, LARGE_KEYS_AT_ONCE, Slots } from '../../activities/slots.js';
import { inSlot, type LinkRuntime } from '../../activities/work.js';
import type { ReconcileReply, ReconcileRequest } from '../../workflows/activities.js';
import { DEFAULT_OPTIONS, startLink, type TestLink } from '../engine/link.js';

const links: TestLink[] = [];
afterEach(async () => {
  for (const link of links.splice(0)) await link.stop();
});

async function twoLinks() {
  const started = await Promise.all([startLink(), startLink()]);
  links.push(...started);
  const runtime = ({ sides }: TestLink): LinkRuntime => ({ sides, options: DEFAULT_OPTIONS });
  const activities = create({
    usableAttributes: async () => [],
    links: new Map([
      ['hanging', runtime(started[0])],
      ['other', runtime(started[1])],
    ]),
    publishEscalation: async () => {},
    onResult: () => {},
  });
  const attempt = (link: string, key: string, isLocal: boolean): Promise<ReconcileReply> => {
    const hint = { whole: true, memberCommands: [], otherCommands: [], members: { utf8: [], base64: [] } };
    const request: ReconcileRequest = { link, key, encoding: 'utf8', hint, allowDelete: false };
    const environment = new MockActivityEnvironment({ isLocal }, { logger: new DefaultLogger('ERROR') });
    return environment.run(activities.reconcile, request) as Promise<ReconcileReply>;
  };
  return { hanging: started[0], other: started[1], attempt };
}

/** How each has ended as soon as nothing more ends by itself; null: it is under way. */
function watchEnds(replies: readonly Promise<ReconcileReply>[]): (string | null)[] {
  const ends: (string | null)[] = replies.map(() => null);
  for (const [index, reply] of replies.entries()) void reply.then(({ outcome }) => (ends[index] = outcome));
  return ends;
}

test.each([true, false])(
  'a link that hangs holds no more than its slots, and other links have theirs (local attempts: %s)',
  async (isLocal) => {
    const { hanging, other, attempt } = await twoLinks();
    await other.source.client.set('k', 'v');
    hanging.target.freeze();
    const surplus = 20;
    const replies = Array.from({ length: ATTEMPTS_AT_ONCE + surplus }, (_, i) => attempt('hanging', `k${i}`, isLocal));
    const ends = watchEnds(replies);
    await expect.poll(() => ends.filter((end) => end === 'deferred').length).toBe(surplus);
    expect(await attempt('other', 'k', isLocal)).toMatchObject({ outcome: 'repaired' });
    expect(ends.filter((end) => end === null)).toHaveLength(ATTEMPTS_AT_ONCE);
    hanging.target.thaw();
    await Promise.all(replies);
    expect(await attempt('hanging', 'k', isLocal)).toMatchObject({ outcome: 'equal' });
  },
);

/** How long the slowest of a hundred took, in ms, of many that are a few at a time under way. */
async function p99(attempts: number, attempt: (number: number) => Promise<unknown>): Promise<number> {
  const took: number[] = [];
  const one = async (_: unknown, number: number) => {
    const begunAt = performance.now();
    await attempt(number);
    took.push(performance.now() - begunAt);
  };
  await pMap(Array.from({ length: attempts }), one, { concurrency: 10 });
  return took.sort((a, b) => a - b)[Math.floor(0.99 * attempts)]!;
}

/** What other work on this machine adds is not the same in each; what the link adds would be. */
const MOST_ROUNDS = 20;

test('a link that hangs, and asks again and again, does not make another one slower', async () => {
  const { hanging, other, attempt } = await twoLinks();
  const others = async () => {
    await Promise.all([other.source.client.flushall(), other.target.client.flushall()]);
    for (let number = 0; number < 300; number++) await other.source.client.set(`k${number}`, 'v');
    return p99(300, async (number) => {
      expect(await attempt('other', `k${number}`, true)).toMatchObject({ outcome: 'repaired' });
    });
  };
  await others();
  let least = Number.POSITIVE_INFINITY;
  for (let round = 1; round <= MOST_ROUNDS && least > 1.5; round++) {
    const alone = await others();
    hanging.target.freeze();
    let isOver = false;
    const asking = Array.from({ length: 4 * ATTEMPTS_AT_ONCE }, async (_, index) => {
      while (!isOver) {
        const reply = await attempt('hanging', `k${index}`, true);
        // As its workflow does.
        if (reply.outcome === 'deferred') await sleep(reply.retryAfterMs);
      }
    });
    const beside = await others();
    isOver = true;
    hanging.target.thaw();
    await Promise.all(asking);
    least = Math.min(least, beside / alone);
  }
  expect(least).toBeLessThanOrEqual(1.5);
});

test('of one link only some large keys are copied at once; the others come again, and are equal in the end', async () => {
  const { hanging: link, attempt } = await twoLinks();
  const keys = Array.from({ length: LARGE_KEYS_AT_ONCE + 3 }, (_, index) => `large ${index}`);
  for (const key of keys) await link.source.client.setrange(key, 8_000_000, 'end');
  const replies = await Promise.all(keys.map((key) => attempt('hanging', key, false)));
  expect(replies.filter(({ outcome }) => outcome === 'deferred')).toHaveLength(3);
  expect(replies.filter(({ outcome }) => outcome === 'repaired')).toHaveLength(LARGE_KEYS_AT_ONCE);
  for (const key of keys) await attempt('hanging', key, false);
  for (const key of keys) expect(await attempt('hanging', key, false)).toMatchObject({ outcome: 'equal' });
});

describe('in line for a slot', () => {
  const held = async (slots: Slots) => {
    let release = () => {};
    const done = slots.run(() => new Promise<void>((resolve) => (release = resolve)));
    return { done, release: () => release() };
  };

  test('one waits, in order, and nobody who comes later is served before', async () => {
    const slots = new Slots(1, { room: 2 });
    const first = await held(slots);
    const served: string[] = [];
    const serve = (name: string) => slots.run(async () => void served.push(name));
    const waiting = [serve('a'), serve('b')];
    first.release();
    await first.done;
    const later = serve('c');
    await Promise.all([...waiting, later]);
    expect(served).toEqual(['a', 'b', 'c']);
  });

  test('stand no more than may, and none for long', async () => {
    const slots = new Slots(1, { room: 1 });
    const first = await held(slots);
    const waits = slots.run(async () => 'served');
    expect(await slots.run(async () => 'served')).toEqual({ retryAfterMs: expect.any(Number) });
    expect(await waits).toEqual({ retryAfterMs: expect.any(Number) });
    first.release();
    await first.done;
    expect(await slots.run(async () => 'served')).toBe('served');
  });

  test('nobody stands where a slot is held for long, as by a link that hangs', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const slots = new Slots(1, { room: 1 });
    const slow = await held(slots);
    vi.advanceTimersByTime(4_000);
    slow.release();
    await slow.done;
    vi.useRealTimers();
    const hanging = await held(slots);
    let isTold = false;
    const told = slots.run(async () => {}).then(() => (isTold = true));
    await new Promise(setImmediate);
    expect(isTold).toBe(true);
    hanging.release();
    await Promise.all([hanging.done, told]);
  });
});

test('who finds no slot is told a time of its own, and at most half a minute', async () => {
  const slots = new Slots(1);
  let release = () => {};
  const held = slots.run(() => new Promise<void>((resolve) => (release = resolve)));
  const told: number[] = [];
  for (let count = 0; count < 1_000; count++)
    told.push(((await slots.run(async () => {})) as { retryAfterMs: number }).retryAfterMs);
  expect(told[0]).toBeGreaterThanOrEqual(100);
  expect(told[100]).toBeGreaterThan(2 * told[0]!);
  expect(Math.max(...told)).toBeLessThanOrEqual(33_000);
  release();
  await held;
  expect(await slots.run(async () => 'done')).toBe('done');
});

test('a resumed attempt whose server is out gives its place back, as any other', async () => {
  const outage = { shard: '10.0.0.1:6379', since: 0, reason: 'no answer in time' };
  const deferred = { outcome: 'deferred', retryAfterMs: 3_600_000, outage, repaired: null } as const;
  expect(await inSlot(new Slots(1), true, async () => deferred)).toBe(deferred);
});
