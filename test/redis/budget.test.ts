import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Redis } from 'ioredis';
import { afterEach, describe, expect, test } from 'vitest';
import {
  type Budget,
  type BudgetOptions,
  createBudget,
  type Refused,
  type Reservation,
} from '../../src/redis/budget/budget.js';
import { Connection } from '../../src/redis/connection/connection.js';
import { provideRedis62 } from '../../src/stack/programs/index.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import {
  calmRate,
  gaps,
  type Sample,
  type Second,
  type Standstill,
  sample,
  seconds,
  unlessHeldUp,
  watch,
} from './commandstats.js';

const WORKER = fileURLToPath(new URL('budget-worker.js', import.meta.url));
const LINK = 'east-to-west';
const KEY = `keymend:budget:${LINK}`;
/** Longer than anything that was leased stays fresh. */
const EXPIRED_MS = 100;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function server(...[args, options]: Parameters<typeof startRedis>): Promise<RedisServer> {
  const started = await startRedis(args, options);
  cleanups.push(() => started.stop());
  return started;
}

/** As another worker has it: with its own connection and nothing leased. */
function budgetAt({ url }: RedisServer, opsPerSecond: number, options: Partial<BudgetOptions> = {}): Budget {
  const link = options.link ?? LINK;
  const connection = new Connection({ url }, { name: `target of link ${link}` });
  cleanups.push(() => connection.close());
  return createBudget(connection, { ...options, link, opsPerSecond });
}

async function granted(budget: Budget, operations: number): Promise<Reservation> {
  const answer = await budget.reserve(operations);
  if (!answer.granted) throw new Error(`refused for ${answer.retryAfterMs} ms`);
  return answer;
}

async function refused(budget: Budget, operations: number): Promise<Refused> {
  const answer = await budget.reserve(operations);
  if (answer.granted) throw new Error('granted');
  return answer;
}

/** Comes back when told, until it is granted. */
async function reserveAsTold(budget: Budget, operations: number): Promise<{ refusals: number }> {
  for (let refusals = 0; ; refusals++) {
    const answer = await budget.reserve(operations);
    if (answer.granted) return { refusals };
    await sleep(answer.retryAfterMs);
  }
}

/** Waits until what was leased is over at the target, and nothing of it is fresh any more. */
async function untilOver(target: RedisServer): Promise<void> {
  await eventually(async () => expect(await target.client.exists(KEY)).toBe(0));
  await sleep(EXPIRED_MS);
}

async function leasesAsked(target: RedisServer): Promise<number> {
  return (await sample(target)).calls.get('evalsha') ?? 0;
}

/**
 * The guarantee is for operations that are executed as soon as they are granted; what this machine
 * held up comes on top.
 */
function tooBusy(samples: readonly Sample[], standstills: readonly Standstill[], opsPerSecond: number): Second[] {
  return seconds(samples, standstills).filter(
    ({ operations, heldUpMs }) => operations > opsPerSecond * (1.05 + heldUpMs / 1_000),
  );
}

describe('under backlog the target sees', () => {
  const OPS_PER_SECOND = 2_000;

  async function startWorker(url: string, standstills: Standstill[]): Promise<ChildProcess> {
    const settings = { url, link: LINK, opsPerSecond: OPS_PER_SECOND, attempts: 8, largest: 40 };
    const worker = fork(WORKER, [JSON.stringify(settings)]);
    cleanups.push(() => worker.kill('SIGKILL'));
    await once(worker, 'message');
    worker.on('message', (standstill) => standstills.push(standstill as Standstill));
    return worker;
  }

  test.each([1, 2, 4])('at most the budget and nearly all of it, with %i workers started and killed', async (count) => {
    const target = await server();
    const standstills: Standstill[] = [];
    const workers = await Promise.all(Array.from({ length: count }, () => startWorker(target.url, standstills)));
    const samples = await watch(target, async () => {
      for (let kill = 0; kill < 3; kill++) {
        await sleep(1_000 + 1_000 * Math.random());
        workers.push(await startWorker(target.url, standstills));
        workers.shift()!.kill('SIGKILL');
      }
      await sleep(1_500);
    });
    const all = [...standstills, ...gaps(samples)];
    expect(tooBusy(samples, all, OPS_PER_SECOND)).toEqual([]);
    expect(calmRate(samples, all) / OPS_PER_SECOND).toBeGreaterThanOrEqual(0.9);
  });
});

describe('a lease', () => {
  test('costs five operations at the target, and they are charged', async () => {
    const target = await server();
    const budget = budgetAt(target, 10_000);
    await granted(budget, 1);
    await unlessHeldUp(target, async () => {
      await untilOver(target);
      await target.client.config('RESETSTAT');
      await granted(budget, 4_900);
      const [{ calls }, timeline] = await Promise.all([sample(target), target.client.get(KEY)]);
      expect(Object.fromEntries(calls)).toEqual({ evalsha: 1, time: 2, getrange: 1, set: 1, 'config|resetstat': 1 });
      const [begin, end] = String(timeline).split(' ').map(Number) as [number, number];
      expect(end - begin).toBeCloseTo((4_900 + 5) / 9.8, 1);
    });
  });

  test('serves many attempts', async () => {
    const target = await server();
    const budget = budgetAt(target, 10_000);
    await granted(budget, 1);
    await unlessHeldUp(target, async () => {
      await untilOver(target);
      const before = await leasesAsked(target);
      await Promise.all(Array.from({ length: 50 }, () => granted(budget, 3)));
      expect((await leasesAsked(target)) - before).toBe(1);
    });
  });

  test('can’t be used later, so that a burst can’t be saved up', async () => {
    const target = await server();
    const budget = budgetAt(target, 2_000);
    await granted(budget, 1);
    await untilOver(target);
    const before = await leasesAsked(target);
    await granted(budget, 1);
    expect(await leasesAsked(target)).toBeGreaterThan(before);
  });

  test('that was long on its way can’t be used either', async () => {
    const target = await server();
    const budget = budgetAt(target, 2_000);
    for (let warm = 0; warm < 3; warm++) {
      await granted(budget, 1);
      await sleep(EXPIRED_MS);
    }
    const before = await leasesAsked(target);
    target.freeze();
    const late = granted(budget, 1);
    await sleep(5 * EXPIRED_MS);
    target.thaw();
    await late;
    expect(await leasesAsked(target)).toBeGreaterThanOrEqual(before + 2);
  });

  test('leaves nothing behind on an idle target', async () => {
    const target = await server();
    await granted(budgetAt(target, 2_000), 10);
    await eventually(async () => expect(await target.client.dbsize()).toBe(0));
  });

  test('is had on a full target too, which only deletes can help', async () => {
    const target = await server();
    await target.client.config('SET', 'maxmemory', '1');
    await granted(budgetAt(target, 1_000), 5_000);
    expect((await refused(budgetAt(target, 1_000), 1)).retryAfterMs).toBeGreaterThan(0);
  });

  test('neither waits for a clock that was set back nor forgets what was leased before', async () => {
    const target = await server();
    const queueOf = (ms: number) =>
      target.client.eval(
        `local t = (redis.call('TIME')[1] + 3600) * 1000
         redis.call('SET', KEYS[1], string.format('%.0f %.3f', t, t + ${ms}), 'EX', 7200)`,
        1,
        KEY,
      );
    await queueOf(20);
    await granted(budgetAt(target, 1_000), 10);
    await queueOf(60_000);
    expect((await refused(budgetAt(target, 1_000), 10)).retryAfterMs).toBeLessThanOrEqual(66_000);
  });

  describe('whose key somebody else has written', () => {
    const day = 86_400_000;
    const foreign: readonly [string, (redis: Redis) => Promise<unknown>][] = [
      ['a hash', (redis) => redis.hset(KEY, 'f', 'v')],
      ['a list', (redis) => redis.rpush(KEY, 'e')],
      ['a stream', (redis) => redis.xadd(KEY, '*', 'f', 'v')],
      ['a text', (redis) => redis.set(KEY, 'not a state')],
      ['a number', (redis) => redis.set(KEY, '42')],
      ['numbers of no use', (redis) => redis.set(KEY, '1 inf')],
      ['a huge text', (redis) => redis.setrange(KEY, 1_000_000, 'x')],
      ['a moment that no lease reaches', (redis) => redis.set(KEY, `${Date.now()} ${Date.now() + 9 * day}.000`)],
    ];

    test.each(foreign)('is granted, and says in one line what it replaced: %s', async (_what, write) => {
      const target = await server();
      await write(target.client);
      const lines: string[] = [];
      const connection = new Connection({ url: target.url }, { name: 'the target' });
      cleanups.push(() => connection.close());
      const budget = createBudget(connection, { link: LINK, opsPerSecond: 1_000, warn: (line) => lines.push(line) });
      await granted(budget, 10);
      await granted(budget, 300);
      expect(lines).toEqual([`${KEY} at ${connection.place} held no budget of keymend, and was replaced by one`]);
      expect(await target.client.pttl(KEY)).toBeGreaterThan(0);
    });
  });

  test('of one link does not use the budget of another', async () => {
    const target = await server();
    await granted(budgetAt(target, 1_000, { link: 'east-to-west' }), 2_000);
    await granted(budgetAt(target, 1_000, { link: 'north-to-west' }), 10);
  });
});

describe('a reservation', () => {
  test('is refused while others are far ahead, and granted when it comes back as told', async () => {
    const target = await server();
    await granted(budgetAt(target, 1_000), 3_000);
    const budget = budgetAt(target, 1_000);
    const { retryAfterMs } = await refused(budget, 10);
    expect(retryAfterMs).toBeGreaterThan(500);
    await sleep(retryAfterMs);
    await granted(budget, 10);
  });

  test('that is sent away counts as one that waits for as long as it was told', async () => {
    const target = await server();
    await granted(budgetAt(target, 1_000), 3_000);
    const told: { ms: number; shard: string }[] = [];
    const budget = budgetAt(target, 1_000, { onWaited: (ms, shard) => told.push({ ms, shard }) });
    const shard = `127.0.0.1:${target.port}`;
    // The first by the server, the second by the worker itself.
    for (const turn of [0, 1]) {
      const { retryAfterMs } = await refused(budget, 10);
      expect(told).toHaveLength(turn + 1);
      expect(told[turn]).toEqual({ ms: expect.any(Number), shard });
      expect(told[turn]!.ms).toBeGreaterThanOrEqual(retryAfterMs);
    }
  });

  test('waits for its turn when that is near', async () => {
    const target = await server();
    const { at } = await sample(target);
    await granted(budgetAt(target, 1_000), 200);
    await granted(budgetAt(target, 1_000), 10);
    expect((await sample(target)).at - at).toBeGreaterThanOrEqual(200);
  });

  test('of many that were refused: each is told a time of its own, as far apart as the budget needs', async () => {
    const target = await server();
    await granted(budgetAt(target, 1_000), 5_000);
    const budget = budgetAt(target, 1_000);
    await refused(budget, 10);
    const answers = await Promise.all(Array.from({ length: 50 }, () => refused(budget, 10)));
    const times = answers.map(({ retryAfterMs }) => retryAfterMs);
    expect(new Set(times).size).toBeGreaterThan(40);
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThanOrEqual(49 * 10);
  });

  test('of many that come back as told: all are granted without being sent away again and again', async () => {
    const target = await server();
    await unlessHeldUp(target, async () => {
      await untilOver(target);
      const budget = budgetAt(target, 2_000);
      const attempts = await Promise.all(Array.from({ length: 150 }, () => reserveAsTold(budget, 20)));
      const refusals = attempts.reduce((total, attempt) => total + attempt.refusals, 0);
      expect(refusals / attempts.length).toBeLessThan(2);
    });
  });

  test('leaves what it did not use to the next one', async () => {
    const target = await server();
    const budget = budgetAt(target, 10_000);
    await granted(budget, 1);
    await unlessHeldUp(target, async () => {
      await untilOver(target);
      const before = await leasesAsked(target);
      (await granted(budget, 2_000)).settle(0);
      await granted(budget, 1_900);
      expect((await leasesAsked(target)) - before).toBe(1);
    });
  });

  test('for much sends the next ones away, in the same worker too', async () => {
    const budget = budgetAt(await server(), 1_000);
    const [much, waiting] = await Promise.all([budget.reserve(10_000), budget.reserve(10)]);
    expect(much.granted).toBe(true);
    expect(waiting.granted).toBe(false);
    expect((await refused(budget, 10)).retryAfterMs).toBeGreaterThan(500);
  });

  test('that used more is a debt, which the next lease pays before anybody else gets one', async () => {
    const target = await server();
    const budget = budgetAt(target, 1_000);
    (await granted(budget, 10)).settle(5_010);
    await sleep(EXPIRED_MS);
    expect((await refused(budget, 10)).retryAfterMs).toBeGreaterThan(500);
    expect((await refused(budgetAt(target, 1_000), 10)).retryAfterMs).toBeGreaterThan(500);
  });
});

describe('a debt', () => {
  test('is paid once', async () => {
    const target = await server();
    await unlessHeldUp(target, async () => {
      await target.client.del(KEY);
      const budget = budgetAt(target, 10_000);
      (await granted(budget, 10)).settle(1_010);
      await untilOver(target);
      await granted(budget, 1);
      await untilOver(target);
      await granted(budget, 49_000);
      const [asked, leasedUntil] = String(await target.client.get(KEY))
        .split(' ')
        .map(Number);
      expect(leasedUntil! - asked!).toBeCloseTo((49_000 + 5) / 9.8, 1);
    });
  });
});

describe('when the target can’t be asked', () => {
  test('all who wait are told its own error, and the next one asks again', async () => {
    const target = await server();
    const budget = budgetAt(target, 1_000);
    await target.client.replicaof('127.0.0.1', 1);
    const attempts = await Promise.allSettled([budget.reserve(1), budget.reserve(1)]);
    expect(attempts).toMatchObject(
      Array(2).fill({ status: 'rejected', reason: { name: 'RedisFailure', code: 'READONLY' } }),
    );
    await target.client.replicaof('NO', 'ONE');
    await granted(budget, 1);
  });

  test('because nobody answers, that is said', async () => {
    const target = await server();
    const budget = budgetAt(target, 1_000);
    await target.stop();
    await expect(budget.reserve(1)).rejects.toMatchObject({ name: 'RedisFailure', code: 'CONNECTION' });
  });
});

await describeWith('at a target of Redis 6.2', provideRedis62, (binary) => {
  test('operations are leased, on a full one too', async () => {
    const target = await server([], { binary });
    await granted(budgetAt(target, 1_000), 10);
    await target.client.config('SET', 'maxmemory', '1');
    await granted(budgetAt(target, 1_000), 10);
  });
});
