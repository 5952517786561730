import type { Info } from '@temporalio/activity';
import type { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { EndedResult } from '../../activities/effect.js';
import { create } from '../../activities/index.js';
import type { LinkSides } from '../../src/engine/index.js';
import { RedisFailure } from '../../src/redis/index.js';
import type { ReconcileReply, ReconcileRequest } from '../../workflows/activities.js';
import { DEFAULT_OPTIONS, intercept, once, portWith, startLink, type TestLink } from '../engine/link.js';
import { losingAnswers, requestFor } from './first-attempt.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink([], [], { largeValues: { elements: 10, bytes: 1024 } });
});
afterAll(() => link?.stop());

interface Told {
  readonly result: EndedResult;
  readonly durationMs: number;
  readonly link: string;
}

interface AttemptOptions {
  readonly info?: Partial<Info>;
  /** Runs when the target has been looked at. */
  readonly midst?: (environment: MockActivityEnvironment) => void;
  /** Whether the target's budget has no room this time. */
  readonly defers?: (environment: MockActivityEnvironment) => boolean;
  /** Runs when the target has been written. */
  readonly written?: () => Promise<unknown>;
  /** Other ports. */
  readonly ports?: Partial<LinkSides>;
}

/** One attempt at a key as a worker makes it, with all that it told `onResult`. */
async function attempt(
  key: string,
  {
    info = {},
    midst = () => {},
    written = async () => {},
    defers = () => false,
    ports = {},
    ...more
  }: Partial<ReconcileRequest> & AttemptOptions = {},
) {
  // Without a log: it would print each failure.
  const environment = new MockActivityEnvironment({ isLocal: false, ...info }, { logger: new DefaultLogger('ERROR') });
  let details: unknown;
  environment.on('heartbeat', (last: unknown) => {
    details = last;
  });
  const sides = { ...link.sides, ...ports };
  const hooked = intercept(sides.target, {
    'after inspect': once(() => midst(environment)),
    'after repair': once(written),
  });
  const target = portWith(hooked, {
    admit: async (...args) =>
      defers(environment) ? { kind: 'deferred', retryAfterMs: 1, outage: null } : hooked.admit(...args),
  });
  const told: Told[] = [];
  const activities = create({
    usableAttributes: async () => [],
    links: new Map([['east-to-west', { sides: { ...sides, target }, options: DEFAULT_OPTIONS }]]),
    publishEscalation: async () => {},
    onResult: (result, durationMs, { link }) => told.push({ result, durationMs, link }),
  });
  const request: ReconcileRequest = { ...requestFor(key), ...more };
  const ended: Promise<ReconcileReply | Error> = environment.run(activities.reconcile, request);
  const reply = await ended.catch((error: Error) => error);
  return { reply, told, details };
}

test('an attempt tells once how it ended, with the link and how long it took', async () => {
  await link.source.client.set('k', 'new');
  const { reply, told } = await attempt('k');
  expect(reply).toMatchObject({ outcome: 'repaired' });
  expect(told).toEqual([
    { result: expect.objectContaining({ outcome: 'repaired' }), durationMs: expect.any(Number), link: 'east-to-west' },
  ]);
  expect(told[0]!.durationMs).toBeGreaterThan(0);
  expect((await attempt('k')).told).toMatchObject([{ result: { outcome: 'equal' } }]);
});

test('an attempt that failed tells why', async () => {
  await link.target.client.set('gone', 'old');
  await link.target.client.mset(Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`other${index}`, 'x'])));
  const { reply, told } = await attempt('gone');
  expect(reply).toMatchObject({ type: 'SourceSuspicious', nonRetryable: true });
  expect(told).toMatchObject([{ result: { outcome: 'failed', error: { type: 'SourceSuspicious' } } }]);
});

test.each(['local', 'durable'])(
  'a %s attempt that is cancelled writes nothing more and tells nothing',
  async (kind) => {
    await link.source.client.set('k', 'newer');
    await link.target.client.set('k', 'older');
    const { reply, told } = await attempt('k', {
      info: { isLocal: kind === 'local' },
      midst: (environment) => environment.cancel(),
    });
    expect(reply).toMatchObject({ name: 'CancelledFailure' });
    expect(told).toEqual([]);
    expect(await link.target.client.get('k')).toBe('older');
  },
);

test('a durable attempt says often enough that it is at work, and ends that with its work', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  try {
    let heartbeats = 0;
    const midst = (environment: MockActivityEnvironment) => {
      environment.on('heartbeat', () => {
        heartbeats += 1;
      });
      // After which the workflow takes it for dead.
      vi.advanceTimersByTime(10_000);
    };
    await attempt('k', { midst });
    expect(heartbeats).toBeGreaterThan(1);
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

test('a large value is told of by the attempt that goes through it, not by the one that leaves it alone', async () => {
  await link.source.client.sadd('large', ...Array.from({ length: 50 }, (_, index) => `m${index}`));
  const left = await attempt('large', { info: { isLocal: true } });
  expect(left).toMatchObject({ reply: { outcome: 'large' }, told: [] });
  const { told } = await attempt('large');
  expect(told).toMatchObject([{ result: { outcome: 'repaired', action: 'members' } }]);
});

test('an attempt that goes on where another has stopped waits for the budget itself: only this activity knows where', async () => {
  await link.source.client.sadd('resumed', ...Array.from({ length: 50 }, (_, index) => `m${index}`));
  const progress = { pass: 'source', cursor: '0', servers: { source: '', target: '' }, repairedBytes: null };
  const heartbeatDetails = { progress, ended: 1, earlier: 'nothing' };
  const info = { attempt: 2, heartbeatDetails };
  let left = 3;
  const defers = () => --left > 0;
  expect((await attempt('resumed', { defers, info })).reply).toMatchObject({ outcome: 'repaired' });
  const cancels = (environment: MockActivityEnvironment) => {
    environment.cancel();
    return true;
  };
  expect((await attempt('resumed', { defers: cancels, info })).reply).toMatchObject({ name: 'CancelledFailure' });
  // The first attempt has nothing to lose.
  expect((await attempt('resumed', { defers: () => true })).reply).toMatchObject({ outcome: 'deferred' });
});

test('a link that the worker does not know is an error that is tried again', async () => {
  const { reply, told } = await attempt('k', { link: 'elsewhere' });
  expect(reply).toMatchObject({ type: 'UnknownLink', nonRetryable: false });
  expect(told).toEqual([]);
});

test('a list that was written is to be looked at again: a positional write may have been on its way', async () => {
  await link.source.client.rpush('list', 'b', 'z');
  await link.target.client.rpush('list', 'a', 'b', 'z');
  expect((await attempt('list')).reply).toMatchObject({ outcome: 'repaired', lookAgain: true });
  await link.source.client.expire('list', 3600);
  expect((await attempt('list')).reply).not.toHaveProperty('lookAgain');
  await link.source.client.del('list');
  expect((await attempt('list', { allowDelete: true })).reply).toMatchObject({ lookAgain: true });
  await link.source.client.sadd('set', 'm');
  expect((await attempt('set')).reply).not.toHaveProperty('lookAgain');
});

test.each([
  ['local', { outcome: 'large', wrote: true, lookAgain: true }],
  ['durable', { outcome: 'repaired', lookAgain: true }],
])('a list that became large behind its repair was repaired: a %s attempt', async (kind, expected) => {
  const key = `grows, ${kind}`;
  await link.source.client.rpush(key, 'a', 'b');
  // By live writes, which reach both sides.
  const written = async () => {
    for (const side of [link.source, link.target]) await side.client.rpush(key, ...'0123456789');
  };
  expect((await attempt(key, { info: { isLocal: kind === 'local' }, written })).reply).toEqual(
    expect.objectContaining(expected),
  );
  expect(await link.target.client.llen(key)).toBe(12);
});

test('an attempt tells the next one that it ended by itself, and whether anything was written', async () => {
  const next = (number: number, heartbeatDetails: unknown) =>
    attempt('told', { info: { attempt: number, heartbeatDetails } });
  await link.source.client.set('told', 'v');
  const first = await next(1, undefined);
  expect(first.reply).not.toHaveProperty('earlier');
  const second = await next(2, first.details);
  expect(second.reply).toMatchObject({ outcome: 'equal', earlier: 'wrote', lookAgain: true });
  expect((await next(3, second.details)).reply).toMatchObject({ earlier: 'wrote' });
  // Its worker was lost, or an earlier version that says nothing of its end.
  expect((await next(4, second.details)).reply).toMatchObject({ earlier: 'unknown' });
  expect((await next(2, undefined)).reply).toMatchObject({ earlier: 'unknown' });
});

test.each([
  ['the first attempt, in time', { attempt: 1 }, 60_000, true],
  ['the first attempt, too late', { attempt: 1 }, -1, false],
  ['a later attempt of the same activity', { attempt: 2 }, 60_000, false],
])('a person’s word for a delete holds for %s: %#', async (_which, info, leftMs, holds) => {
  await link.target.client.set('vouched', 'old');
  await link.target.client.mset(Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`more${index}`, 'x'])));
  const { reply } = await attempt('vouched', { allowDelete: true, allowDeleteUntil: Date.now() + leftMs, info });
  expect(reply).toMatchObject(holds ? { outcome: 'repaired' } : { type: 'SourceSuspicious' });
});

describe.each(['local', 'durable'])('a %s attempt that fails', (kind) => {
  const failing = async (ports: Partial<LinkSides>) => {
    const key = `fails, ${kind}`;
    await link.clear();
    await link.source.client.set(key, 'v');
    const { reply, details } = await attempt(key, { info: { isLocal: kind === 'local' }, ports });
    expect(await link.target.client.get(key)).toBe('v');
    return { detail: (reply as ApplicationFailure).details?.[0], pulse: details };
  };

  test('by a write without an answer says that nothing is known of it', async () => {
    const { detail, pulse } = await failing({ target: losingAnswers(link.sides.target) });
    expect(detail).toMatchObject({ stage: 'write', earlier: 'unknown' });
    if (kind === 'durable') expect(pulse).toMatchObject({ ended: 1, earlier: 'unknown' });
  });

  test('behind its write says that it has written', async () => {
    const inspect = async () => [new RedisFailure('CONNECTION', 'gone')];
    const { detail, pulse } = await failing({ source: portWith(link.sides.source, { inspect }) });
    expect(detail).toMatchObject({ stage: 'verify', wrote: true });
    if (kind === 'durable') expect(pulse).toMatchObject({ ended: 1, earlier: 'wrote' });
  });
});
