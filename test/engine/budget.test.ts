import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type KeyRequest,
  type KeyResult,
  type LinkSides,
  reconcileKeys,
  reconcileLargeKey,
} from '../../src/engine/index.js';
import { connectRedis } from '../../src/redis/index.js';
import { calmRate, gaps, type Standstill, seconds, unlessHeldUp, watch } from '../redis/commandstats.js';
import { compareRedis } from '../support/compare.js';
import { freePort } from '../support/redis.js';
import { DEFAULT_OPTIONS, intercept, once as onlyOnce, startLink, type TestLink } from './link.js';

const WORKER = fileURLToPath(new URL('budget-worker.js', import.meta.url));

/** More than any slice. */
const SPENDING = { key: Buffer.from('k'), members: 1_000 };

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

/** The link's sides as another worker with a budget has them. */
async function withBudget<T>(opsPerSecond: number, work: (sides: LinkSides) => Promise<T>): Promise<T> {
  const budget = { link: 'east-to-west', opsPerSecond };
  const target = connectRedis({ url: link.target.url }, { name: 'target', budget });
  try {
    return await work({ source: link.sides.source, target });
  } finally {
    await target.close();
  }
}

/** Small keys of all types, each other than on the target. */
async function diverge(count: number): Promise<KeyRequest[]> {
  const pipelines = [link.source.client.pipeline(), link.target.client.pipeline()];
  const keys = Array.from({ length: count }, (_, index) => `key:${index}`);
  for (const [index, key] of keys.entries()) {
    for (const [side, pipeline] of pipelines.entries()) {
      if (index % 4 === 0) pipeline.set(key, `value ${side}`);
      else if (index % 4 === 1) pipeline.hset(key, { a: '1', b: `${side}` });
      else if (index % 4 === 2) pipeline.zadd(key, side, 'member');
      else pipeline.rpush(key, 'a', `${side}`);
    }
  }
  await Promise.all(pipelines.map((pipeline) => pipeline.exec()));
  return keys.map((key) => ({ key: Buffer.from(key) }));
}

const numbers = (from: number) => Array.from({ length: 1_000 }, (_, index) => `${from + index}`);

function outcomes(results: readonly KeyResult[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { outcome } of results) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}

describe('with a budget', () => {
  it('a backlog is repaired by two workers within it, and uses nearly all of it', async () => {
    const opsPerSecond = 2_500;
    const requests = await diverge(2_000);
    const workers = [0, 1].map((part) => ({
      process: fork(WORKER, [
        JSON.stringify({ source: { url: link.source.url }, target: { url: link.target.url }, opsPerSecond }),
      ]),
      keys: requests.filter((_, index) => index % 2 === part).map(({ key }) => key.toString()),
    }));
    const standstills: Standstill[] = [];
    try {
      await Promise.all(workers.map(({ process }) => once(process, 'message')));
      const samples = await watch(link.target, async () => {
        await Promise.all(
          workers.map(({ process, keys }) => {
            const ended = new Promise<void>((resolve) => {
              process.on('message', (message) => {
                if (message === 'done') resolve();
                else standstills.push(message as Standstill);
              });
            });
            process.send(keys);
            return ended;
          }),
        );
      });
      const all = [...standstills, ...gaps(samples)];
      const tooBusy = seconds(samples, all).filter(
        ({ operations, heldUpMs }) => operations > opsPerSecond * (1.05 + heldUpMs / 1_000),
      );
      expect(tooBusy).toEqual([]);
      expect(calmRate(samples, all) / opsPerSecond).toBeGreaterThanOrEqual(0.9);
      expect(outcomes(await reconcileKeys(link.sides, requests, DEFAULT_OPTIONS))).toEqual({ equal: 2_000 });
    } finally {
      for (const { process } of workers) process.kill('SIGKILL');
    }
  });

  it.each([
    ['hash', 40_000, (from: number) => ['HSET', ...numbers(from).flatMap((number) => [`field:${number}`, number])]],
    ['list', 15_000, (from: number) => ['RPUSH', ...numbers(from)]],
  ] as const)('a large %s is gone through within it, step by step', async (type, count, command) => {
    const opsPerSecond = 1_000;
    for (let from = 0; from < count; from += 1_000) {
      const [name, ...args] = command(from) as [string, ...string[]];
      for (const { client } of [link.source, link.target]) await client.call(name, 'large', ...args);
    }
    let tries = 0;
    const attempt = async (sides: LinkSides) => {
      const { client } = link.source;
      tries += 1;
      await (type === 'hash' ? client.hset('large', `new ${tries}`, '1') : client.lpush('large', `new ${tries}`));
      const samples = await watch(link.target, async () => {
        const options = { ...DEFAULT_OPTIONS, onProgress: () => {} };
        const result = await reconcileLargeKey(sides, { key: Buffer.from('large') }, options);
        expect(result).toMatchObject({ outcome: 'repaired' });
      });
      // Else it would not have been put to the test.
      expect(samples.at(-1)!.operations - samples[0]!.operations).toBeGreaterThan(opsPerSecond);
      const tooBusy = seconds(samples, gaps(samples)).filter(
        ({ operations, heldUpMs }) => operations > opsPerSecond * (1.05 + heldUpMs / 1_000),
      );
      expect(tooBusy).toEqual([]);
    };
    await unlessHeldUp(link.target, () => withBudget(opsPerSecond, attempt));
  });

  it('a large stream is built within it, entry by entry and group by group', async () => {
    const opsPerSecond = 2_000;
    for (let from = 0; from < 5_000; from += 1_000) {
      const pipeline = link.source.client.pipeline();
      for (const number of numbers(from)) pipeline.xadd('large', `${Number(number) + 1}-0`, 'f', number);
      await pipeline.exec();
    }
    await link.source.client.xgroup('CREATE', 'large', 'g', '0');
    await link.source.client.xreadgroup('GROUP', 'g', 'ann', 'COUNT', 2_000, 'STREAMS', 'large', '>');
    await withBudget(opsPerSecond, async (sides) => {
      const samples = await watch(link.target, async () => {
        const options = { ...DEFAULT_OPTIONS, onProgress: () => {} };
        const result = await reconcileLargeKey(sides, { key: Buffer.from('large') }, options);
        expect(result).toMatchObject({ outcome: 'repaired' });
      });
      expect(samples.at(-1)!.operations - samples[0]!.operations).toBeGreaterThan(7_000);
      // One step may come in one moment with the next.
      const tooBusy = seconds(samples, gaps(samples)).filter(
        ({ operations, heldUpMs }) => operations > opsPerSecond * (1.15 + heldUpMs / 1_000),
      );
      expect(tooBusy).toEqual([]);
    });
  });

  it('keys that it has no room for are deferred, untouched, and say until when', async () => {
    const requests = await diverge(10);
    await withBudget(500, async (sides) => {
      const spent = await sides.target.admit([SPENDING]);
      expect(spent).toMatchObject({ kind: 'admitted', keys: 1 });
      const others = await withBudget(500, (other) => reconcileKeys(other, requests, DEFAULT_OPTIONS));
      expect(outcomes(others)).toEqual({ deferred: 10 });
      expect(others[0]).toMatchObject({ retryAfterMs: expect.any(Number), repaired: null });
      expect(outcomes(await reconcileKeys(link.sides, requests, DEFAULT_OPTIONS))).toEqual({ repaired: 10 });
    });
  });

  it('one key that it has no room for once more, because it changed, says what was written', async () => {
    const [request] = await diverge(1);
    await withBudget(500, async ({ source, target }) => {
      const changing = intercept(target, {
        'after repair': onlyOnce(async () => {
          await link.source.client.set('key:0', 'changed once more');
          await target.admit([SPENDING]);
        }),
      });
      const [result] = await reconcileKeys({ source, target: changing }, [request!], DEFAULT_OPTIONS);
      expect(result).toMatchObject({ outcome: 'deferred', repaired: { action: 'restored' } });
    });
  });

  it('a target that can not be asked for it fails each key with its own error', async () => {
    const requests = await diverge(2);
    const budget = { link: 'east-to-west', opsPerSecond: 500 };
    const target = connectRedis({ url: `redis://127.0.0.1:${await freePort()}` }, { name: 'target', budget });
    const results = await reconcileKeys({ source: link.sides.source, target }, requests, DEFAULT_OPTIONS);
    await target.close();
    expect(results).toMatchObject(
      Array(2).fill({ outcome: 'failed', error: { type: 'TargetUnavailable', stage: 'read' } }),
    );
  });

  it('a replica, which takes no lease, is told by its role', async () => {
    const requests = await diverge(3);
    await withBudget(500, async (sides) => {
      await link.target.client.replicaof('127.0.0.1', 1);
      const results = await reconcileKeys(sides, requests, DEFAULT_OPTIONS);
      await link.target.client.replicaof('NO', 'ONE');
      expect(results).toMatchObject(
        Array(3).fill({ outcome: 'failed', error: { type: 'TargetReadOnly', stage: 'read' } }),
      );
    });
  });
});

/** In steps, of which none costs much. @returns bytes of the value, about */
async function makeLarge(type: string): Promise<number> {
  const [parts, bytes] = [80, 262_144];
  for (let part = 0; part < parts; part++) {
    if (type === 'string') await link.source.client.append('large', randomBytes(bytes));
    const elements = Array.from({ length: 16 }, () => randomBytes(bytes / 16));
    if (type === 'list') await link.source.client.rpush('large', ...elements);
    if (type === 'stream') await link.source.client.xadd('large', '*', ...elements.flatMap((each) => ['f', each]));
  }
  return parts * bytes;
}

describe('a budget of bytes', () => {
  it.each(['string', 'list', 'stream'])('is paid also by a large %s, for all that is brought', async (type) => {
    const bytesPerOperation = 4_000;
    let paid = 0;
    const onUsed = (operations: number) => {
      paid += operations * bytesPerOperation;
    };
    const opsPerSecond = 100_000;
    const bytesPerSecond = opsPerSecond * bytesPerOperation;
    const budget = { link: 'east-to-west', opsPerSecond, bytesPerSecond, onUsed };
    const target = connectRedis({ url: link.target.url }, { name: 'target', budget });
    const bytes = await makeLarge(type);
    try {
      const sides = { source: link.sides.source, target };
      const request = { key: Buffer.from('large') };
      const result = await reconcileLargeKey(sides, request, { ...DEFAULT_OPTIONS, onProgress() {} });
      expect(result).toMatchObject({ outcome: 'repaired', type });
      expect(paid).toBeGreaterThan(bytes);
      expect(paid).toBeLessThan(1.5 * bytes);
    } finally {
      await target.close();
    }
  });

  it('bounds how much is brought to the target, as the one of operations does', async () => {
    const [rounds, keys, bytes, bytesPerSecond] = [12, 5, 100_000, 4_000_000];
    const budget = { link: 'east-to-west', opsPerSecond: 100_000, bytesPerSecond };
    const target = connectRedis({ url: link.target.url }, { name: 'target', budget });
    try {
      let begunAt = 0;
      for (let round = 0; round <= rounds; round++) {
        // What a round brings is paid by the next: the first one is not counted, nor what it costs.
        if (round === 1) begunAt = performance.now();
        const requests = Array.from({ length: keys }, (_, index) => ({ key: Buffer.from(`${round}:${index}`) }));
        for (const { key } of requests) await link.source.client.set(key, randomBytes(bytes));
        for (let open = requests; open.length > 0; ) {
          const results = await reconcileKeys({ source: link.sides.source, target }, open, DEFAULT_OPTIONS);
          open = open.filter((_, index) => results[index]!.outcome === 'deferred');
          if (open.length > 0) await sleep(20);
        }
      }
      const seconds = (performance.now() - begunAt) / 1_000;
      expect((rounds * keys * bytes) / seconds).toBeLessThan(bytesPerSecond * 1.05);
      expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
    } finally {
      await target.close();
    }
  });
});
