/** One attempt at a batch, as a worker makes it, with real Redis. */
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { BATCHES_AT_ONCE, createBatchActivities } from '../../activities/batch.js';
import type { LinkSides } from '../../src/engine/index.js';
import { connectRedis, RedisFailure } from '../../src/redis/index.js';
import { ALL_EQUAL, type BatchReply, type BatchRequest, packed } from '../../workflows/batch-messages.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { DEFAULT_OPTIONS, intercept, once, portWith, startLink, type TestLink } from '../engine/link.js';
import { failedWrite, POLICY } from '../support/workflow-bed.js';
import { losingAnswers } from './first-attempt.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

const PART = { topic: 't', partition: 0, first: '0', last: '9', firstId: 'i' };

function requestFor(writes: readonly Partial<FailedWrite>[]): BatchRequest {
  const link = 'east-to-west';
  return { link, policy: POLICY, part: PART, writes: writes.map((write) => packed(failedWrite(write))) };
}

function activitiesOf(sides: LinkSides, handOver: (key: string) => Promise<void> = async () => {}) {
  return createBatchActivities({
    links: new Map([['east-to-west', { sides, options: DEFAULT_OPTIONS }]]),
    handOver: (write) => handOver(write.key),
    onBatch: () => {},
  });
}

const environment = (info = {}) => new MockActivityEnvironment(info, { logger: new DefaultLogger('ERROR') });

function attempt(writes: readonly Partial<FailedWrite>[], sides: LinkSides = link.sides): Promise<BatchReply> {
  return environment().run(activitiesOf(sides).reconcileBatch, requestFor(writes));
}

const names = (count: number) => Array.from({ length: count }, (_, index) => `key:${index}`);

test('says of each key by its index what became of it, and nothing of those that were equal', async () => {
  const { source, target } = link;
  await Promise.all([source, target].map(({ client }) => client.set('equal', 'v')));
  await source.client.set('repaired', 'v');
  await source.client.set('in flight', 'v');
  await source.client.rpush('a list', 'a');
  await source.client.rpush('large', ...names(6_000));
  const failedAt = new Date().toISOString();
  const reply = await attempt([
    { key: 'equal' },
    { key: 'repaired' },
    { key: 'in flight', outcome: 'unknown', failedAt: '2026-11-20T23:00:00.000Z' },
    { key: 'a list' },
    { key: 'large' },
    { key: 'not settled', outcome: 'unknown', failedAt },
    { key: 'keymend:of ours' },
  ]);
  expect(reply).toMatchObject({ repaired: [1], lookAgain: [2, 3], large: [4] });
  expect(reply.deferred).toMatchObject([{ indices: [5] }]);
  expect(reply.deferred[0]!.retryAfterMs).toBeLessThanOrEqual(POLICY.settleMs);
  expect(reply.failed).toMatchObject([{ indices: [6], permanent: true, error: { type: 'ReservedKey' } }]);
  expect(await target.client.mget('equal', 'repaired', 'in flight')).toEqual(['v', 'v', 'v']);
  expect(await target.client.lrange('a list', 0, -1)).toEqual(['a']);
});

test('tells back which keys of the run it was asked for', async () => {
  const request = { ...requestFor([{ key: 'equal' }]), asked: [7, 7] };
  const reply = await environment().run(activitiesOf(link.sides).reconcileBatch, request);
  expect(reply).toEqual({ ...ALL_EQUAL, asked: [7, 7] });
});

test('of a cache each key that was written is looked at again, whatever `verify` says', async () => {
  await link.source.client.set('repaired', 'v');
  const policy = { ...POLICY, verify: 'never' as const };
  const request = { ...requestFor([{ key: 'repaired' }, { key: 'equal' }]), policy: { ...policy, looksTwice: true } };
  expect(await environment().run(activitiesOf(link.sides).reconcileBatch, request)).toEqual({
    ...ALL_EQUAL,
    lookAgain: [0],
  });
});

test('waits for settle once, also where the clock of the bridge is ten minutes ahead', async () => {
  await link.source.client.set('k', 'v');
  const receivedAt = new Date(Date.now() + 600_000).toISOString();
  const request = requestFor([{ key: 'k', outcome: 'unknown' }]);
  const ahead = { ...request, part: { ...PART, receivedAt } };
  const run = (isSettled: boolean): Promise<BatchReply> =>
    environment().run(activitiesOf(link.sides).reconcileBatch, { ...ahead, isSettled });
  expect((await run(false)).deferred).toEqual([{ indices: [0], retryAfterMs: POLICY.settleMs }]);
  expect(await run(true)).toEqual({ ...ALL_EQUAL, lookAgain: [0] });
});

test('looks at named members alone', async () => {
  const { source, target } = link;
  await source.client.hset('h', { a: 'new', b: 'new' });
  await target.client.hset('h', { a: 'old', b: 'old' });
  expect(await attempt([{ key: 'h', command: 'HSET', members: ['a'] }])).toEqual({ ...ALL_EQUAL, repaired: [0] });
  expect(await target.client.hgetall('h')).toEqual({ a: 'new', b: 'old' });
});

test('keys that failed in the same way are told of once, with what may have been written', async () => {
  const keys = names(300);
  for (const key of keys) await link.source.client.set(key, 'v');
  const sides = { ...link.sides, target: losingAnswers(link.sides.target) };
  const reply = await attempt(
    keys.map((key) => ({ key })),
    sides,
  );
  expect(reply.failed).toMatchObject([
    { permanent: false, effect: 'unknown', error: { type: 'TargetUnavailable', stage: 'write' } },
  ]);
  expect(reply.failed[0]!.indices.toSorted((a, b) => a - b)).toEqual([...keys.keys()]);
});

test('a key that was written and changes until its time is over is not taken for one that was left alone', async () => {
  const ends = new AbortController();
  const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(ends.signal);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    await link.source.client.rpush('hot', 'a');
    const target = intercept(link.sides.target, {
      'before repair': once(() => ends.abort(new Error('its time is over'))),
      'after repair': () => link.source.client.rpush('hot', 'b'),
      // Longer than what was written is looked after.
      'before inspect': (call) => (call === 1 ? vi.advanceTimersByTime(4_000) : undefined),
    });
    const reply = await attempt([{ key: 'hot' }], { ...link.sides, target });
    expect(reply.failed).toMatchObject([{ indices: [0], effect: 'wrote', error: { type: 'Contended' } }]);
    expect(reply.deferred).toEqual([]);
  } finally {
    vi.useRealTimers();
    timeout.mockRestore();
  }
});

test('a budget that has room again soon is waited for, and all keys are repaired', async () => {
  const keys = names(200);
  for (const key of keys) await link.source.client.set(key, 'v');
  const target = connectRedis(
    { url: link.target.url },
    {
      name: 'target',
      budget: { link: 'east-to-west', opsPerSecond: 2_000 },
    },
  );
  try {
    expect(
      await attempt(
        keys.map((key) => ({ key })),
        { source: link.sides.source, target },
      ),
    ).toEqual({
      ...ALL_EQUAL,
      repaired: expect.toSatisfy((indices: number[]) => indices.length === keys.length),
    });
  } finally {
    await target.close();
  }
});

describe('where all slots of a link are taken', () => {
  /** Attempts that do not get on before they are let. */
  function held() {
    let letGo = () => {};
    const opened = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const target = portWith(link.sides.target, {
      admit: async () => {
        await opened;
        return new RedisFailure('CONNECTION', 'closed');
      },
    });
    const activities = activitiesOf({ ...link.sides, target });
    const run = (): Promise<BatchReply> =>
      environment().run(activities.reconcileBatch, requestFor([{ key: 'a' }, { key: 'b' }]));
    return { run, letGo, attempts: Array.from({ length: BATCHES_AT_ONCE }, run) };
  }

  test('a batch waits in line for one to end, which costs it no further attempt', async () => {
    const { run, letGo, attempts } = held();
    const next = run();
    letGo();
    for (const { deferred, failed } of await Promise.all([...attempts, next])) {
      expect(deferred).toEqual([]);
      expect(failed).toHaveLength(1);
    }
  });

  test('one that waits for too long is told when to come again', async () => {
    const { run, letGo, attempts } = held();
    const [deferral, ...more] = (await run()).deferred;
    expect(deferral).toEqual({ indices: [0, 1], retryAfterMs: expect.any(Number) });
    expect(more).toEqual([]);
    letGo();
    for (const reply of await Promise.all(attempts)) expect(reply.failed).toHaveLength(1);
  });
});

test('keys are handed over only when a given-up attempt can write them no more', async () => {
  const given: string[] = [];
  const activities = activitiesOf(link.sides, async (key) => void given.push(key));
  const begunAt = performance.now();
  await environment().run(activities.handOver, { ...requestFor([{ key: 'a' }]), afterMs: 300 });
  expect(performance.now() - begunAt).toBeGreaterThan(290);
  expect(given).toEqual(['a']);
});

test('keys are handed over one behind the other, and a further attempt goes on where one has ended', async () => {
  const given: string[] = [];
  const activities = activitiesOf(link.sides, async (key) => {
    if (key === 'c' && !given.includes('b again')) {
      given.push('b again');
      throw new Error('Temporal is away');
    }
    given.push(key);
  });
  const request = requestFor(['a', 'b', 'c', 'd'].map((key) => ({ key })));
  const first = environment({ attempt: 1 });
  let details: unknown;
  first.on('heartbeat', (beat) => {
    details = beat;
  });
  await expect(first.run(activities.handOver, request)).rejects.toThrow('Temporal is away');
  await environment({ attempt: 2, heartbeatDetails: details }).run(activities.handOver, request);
  expect(given).toEqual(['a', 'b', 'b again', 'c', 'd']);
});

describe('keys of a link that a worker does not know', () => {
  /** An attempt by a worker, and what it keeps for the next. */
  async function handOver(isKnown: boolean, heartbeatDetails?: unknown) {
    const given: string[] = [];
    const activities = createBatchActivities({
      links: new Map(isKnown ? [['east-to-west', { sides: link.sides, options: DEFAULT_OPTIONS }]] : []),
      handOver: async (write) => void given.push(write.key),
      onBatch: () => {},
    });
    let kept: unknown;
    const worker = environment({ attempt: heartbeatDetails === undefined ? 1 : 2, heartbeatDetails });
    worker.on('heartbeat', (beat) => {
      kept = beat;
    });
    const end = await worker.run(activities.handOver, requestFor([{ key: 'a' }, { key: 'b' }])).then(
      () => null,
      (error: unknown) => error,
    );
    return { given, end, kept };
  }

  test('are left to another one, which may have it', async () => {
    const first = await handOver(false);
    expect(first).toMatchObject({ given: [], end: { type: 'UnknownLink', nonRetryable: false } });
    const second = await handOver(true, first.kept);
    expect(second).toMatchObject({ given: ['a', 'b'], end: null });
    expect(second.kept).not.toHaveProperty('unknownSince');
  });

  test('go on where they were begun', async () => {
    const { kept } = await handOver(false, { progress: 1, ended: 0, earlier: 'nothing' });
    expect(await handOver(true, kept)).toMatchObject({ given: ['b'], end: null });
  });

  test('are given away where nobody has had it for more than ten minutes', async () => {
    const { kept } = await handOver(false);
    const longSince = { ...(kept as object), unknownSince: Date.now() - 601_000 };
    const last = await handOver(false, longSince);
    expect(last).toMatchObject({ given: ['a', 'b'], end: null });
    // Dead letters may be away: whoever tries again need not wait once more.
    expect(last.kept).toMatchObject({ unknownSince: longSince.unknownSince });
  });
});
