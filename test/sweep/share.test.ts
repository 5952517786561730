/** Which share of its time a server spends with a sweep, by a clock of its own. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { PageDigest, RedisPort } from '../../src/redis/index.js';
import { swept } from './bed.js';

// As the module is, but by the clock of the test.
vi.mock('node:timers/promises', () => ({ setTimeout: after }));
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

const [PAGES, PER_PAGE] = [50, 10];

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** How long its answers take, in ms. */
interface Takes {
  readonly scan: number;
  readonly digest: number;
  /** There and back. */
  readonly way: number;
}

/** A server that is not asked by anybody else. */
function serverTaking(place: string, { scan, digest, way }: Takes) {
  const busy = { ms: 0 };
  const work = async (ms: number) => {
    busy.ms += ms;
    await after(way + ms);
  };
  const of = (keys: readonly Buffer[]): PageDigest => {
    return { digest: keys.join(), expiries: null, fieldExpiry: null, large: [], count: keys.length };
  };
  const port = {
    place,
    connections: 1,
    keyServers: async () => [{ place, server: place, keys: PAGES * PER_PAGE, slots: [[0, 1]], moving: [] }],
    shardsOf: async (keys: readonly Buffer[]) => keys.map(() => place),
    async scanKeys(_: string, { cursor }: { readonly cursor: string }) {
      await work(scan);
      const keys = Array.from({ length: PER_PAGE }, (_, index) => Buffer.from(`${cursor} ${index}`));
      return { cursor: `${(Number(cursor) + 1) % PAGES}`, keys, own: 0, digest: of(keys) };
    },
    async digestKeys(keys: readonly Buffer[]) {
      await work(digest);
      return of(keys);
    },
    async absentKeys() {
      await after(way);
      return [];
    },
  };
  return { busy, port: port as never as RedisPort };
}

/** Of a sweep that goes gently, and of both sides. */
async function sharesOf(source: Partial<Takes>, target: Partial<Takes>) {
  const nothing: Takes = { scan: 0, digest: 0, way: 0 };
  const servers = [
    serverTaking('source', { ...nothing, ...source }),
    serverTaking('target', { ...nothing, ...target }),
  ] as const;
  const begunAt = performance.now();
  let isOver = false;
  const sweep = swept({ source: servers[0].port, target: servers[1].port }, { rate: undefined });
  const over = sweep.finally(() => {
    isOver = true;
  });
  while (!isOver) await vi.advanceTimersToNextTimerAsync();
  expect((await over).summary).toMatchObject({ outcome: 'equal', compared: PAGES * PER_PAGE, targetOnly: 'counted' });
  const passedMs = performance.now() - begunAt;
  return { ofSource: servers[0].busy.ms / passedMs, ofTarget: servers[1].busy.ms / passedMs };
}

const THIRD = 1 / 3;

test.each([
  [20, 10],
  [30, 10],
  [30, 1],
])('a scan that takes longer than the comparison, %d ms and %d, is rested behind', async (scan, digest) => {
  const { ofSource } = await sharesOf({ scan }, { digest });
  expect(ofSource).toBeLessThan(THIRD);
  // And no longer than that needs.
  expect(ofSource).toBeGreaterThan(0.25);
});

test('so is a comparison that takes longer than the scan', async () => {
  const { ofTarget } = await sharesOf({ scan: 10 }, { digest: 30 });
  expect(ofTarget).toBeLessThan(THIRD);
  expect(ofTarget).toBeGreaterThan(0.25);
});

test('where both take as long, each is rested behind at the same time', async () => {
  const { ofSource, ofTarget } = await sharesOf({ scan: 10 }, { digest: 10 });
  expect(Math.max(ofSource, ofTarget)).toBeLessThan(THIRD);
  expect(Math.min(ofSource, ofTarget)).toBeGreaterThan(0.25);
});

test('a source that is far away and slow is rested behind, beyond the way', async () => {
  const { ofSource } = await sharesOf({ scan: 30, way: 40 }, { digest: 1 });
  expect(ofSource).toBeLessThan(THIRD);
  expect(ofSource).toBeGreaterThan(0.25);
});

test('so is a near source of a target that is far away', async () => {
  const { ofSource } = await sharesOf({ scan: 30 }, { digest: 1, way: 40 });
  expect(ofSource).toBeLessThan(THIRD);
  expect(ofSource).toBeGreaterThan(0.25);
});
