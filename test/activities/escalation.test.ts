/** What is found out when a key is escalated, on real servers. */
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { createEscalationActivities, type Tries } from '../../activities/escalation.js';
import type { LinkSides } from '../../src/engine/index.js';
import { RedisFailure } from '../../src/redis/index.js';
import type { EscalateRequest, EscalationSight } from '../../workflows/activities.js';
import { portWith, startLink, type TestLink } from '../engine/link.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(async () => {
  await link.source.client.flushall();
  await link.target.client.flushall();
});

interface Options {
  readonly sides?: Partial<LinkSides>;
  readonly lettersEnd?: () => Promise<readonly string[]>;
}

async function sight({ sides = {}, lettersEnd }: Options = {}): Promise<EscalationSight> {
  const activities = createEscalationActivities({
    links: new Map([['l', { sides: { ...link.sides, ...sides } }]]),
    usableAttributes: async () => ['KeymendState'],
    publishEscalation: async () => {},
    lettersEnd,
  });
  const look = { link: 'l', key: 'k', encoding: 'utf8' } as const;
  const run = async () => (await activities.usableAttributes(look)) as EscalationSight;
  return new MockActivityEnvironment().run(run);
}

it('tells type, size and expiry of both sides, and no value', async () => {
  const expiresAt = Date.now() + 3_600_000;
  await link.source.client.hset('k', 'field', 'SECRET', 'other', '2');
  await link.source.client.pexpireat('k', expiresAt);
  await link.target.client.set('k', 'SECRET');
  const { usable, sides } = await sight();
  expect(usable).toEqual(['KeymendState']);
  expect(sides).toEqual({
    at: expect.any(String),
    source: { type: 'hash', size: 2, expiresAt: new Date(expiresAt).toISOString() },
    target: { type: 'string', size: 6, expiresAt: null },
  });
});

it('tells of a key that is not there, and of one that is too large to be counted at once', async () => {
  await link.source.client.rpush('k', ...Array.from({ length: 6_000 }, (_, n) => `${n}`));
  const { sides } = await sight();
  expect(sides!.source).toEqual({ type: 'list', size: null, expiresAt: null });
  expect(sides!.target).toEqual({ type: 'none', size: null, expiresAt: null });
});

it('tells of the side that answers, within the budget of the target', async () => {
  await link.source.client.set('k', 'v');
  await link.target.client.set('k', 'v');
  const spent = portWith(link.sides.target, {
    admit: async () => ({ kind: 'deferred', retryAfterMs: 1_000, outage: null }),
  });
  expect((await sight({ sides: { target: spent } })).sides).toMatchObject({ source: { type: 'string' }, target: null });
  const silent = portWith(link.sides.source, {
    inspectMembers: async () => [new RedisFailure('TIMEOUT', 'no answer')],
  });
  const { sides } = await sight({ sides: { source: silent } });
  expect(sides).toMatchObject({ source: null, target: { type: 'string', size: 1 } });
});

it('does without what does not come in time: the search attributes wait for nobody', async () => {
  const hanging = portWith(link.sides.source, { inspectMembers: () => new Promise(() => {}) });
  const found = await sight({ sides: { source: hanging }, lettersEnd: () => Promise.reject(new Error('no Kafka')) });
  expect(found).toEqual({ usable: ['KeymendState'] });
});

it('tells where the dead letters end', async () => {
  expect((await sight({ lettersEnd: async () => ['3', '0'] })).lettersEnd).toEqual(['3', '0']);
});

/**
 * What an attempt tells the server.
 * @param heartbeatDetails what the attempt before it has noted
 */
async function beatsOf(publish: (tries: Tries) => Promise<void>, heartbeatDetails?: readonly string[]) {
  const beats: unknown[] = [];
  const { escalate } = createEscalationActivities({
    links: new Map(),
    usableAttributes: async () => [],
    publishEscalation: (_request, _workflow, tries) => publish(tries),
  });
  const environment = new MockActivityEnvironment({ heartbeatDetails });
  environment.on('heartbeat', (beat: unknown) => beats.push(beat));
  await environment.run(() => escalate({} as EscalateRequest)).catch(() => {});
  return beats;
}

it('an attempt to publish says that it is at work, with where the letters ended, and ends that with its work', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  try {
    const beats = await beatsOf(async ({ note }) => {
      note(['7']);
      // After which the workflow takes it for dead.
      vi.advanceTimersByTime(20_000);
    });
    expect(beats.length).toBeGreaterThan(3);
    expect(new Set(beats.map(String))).toEqual(new Set(['7']));
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

it('an attempt that fails at once loses nothing of what an earlier one has noted', async () => {
  const refuse = () => Promise.reject(new Error('no Kafka'));
  expect(await beatsOf(refuse, ['7'])).toEqual([['7']]);
  // Nothing is told before what is to be noted: that would be held back behind it.
  expect(await beatsOf(refuse)).toEqual([]);
});
