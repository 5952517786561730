/** What a sweep hands over, while servers fail over and batches wait. */
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { LinkSides } from '../../src/engine/index.js';
import { encodeKey } from '../../src/events/failed-write-codec.js';
import { type Batches, HandOver } from '../../src/sweep/hand-over.js';
import type { SweepRequest } from '../../src/sweep/sweep.js';
import { BATCH_BYTES } from '../../workflows/batch-messages.js';
import type { SweepState } from '../../workflows/sweep-messages.js';
import { DEFAULT_OPTIONS, startLink, type TestLink, withMemory } from '../engine/link.js';
import { eventually } from '../support/eventually.js';
import { startRedis } from '../support/redis.js';
import { swept } from './bed.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
afterEach(() => link.clear());

// A busy machine is not to make several batches of one.
const REPAIR = { repair: true, rate: 1_000_000 };
const NOTHING_REPAIRED = {
  handedOver: 0,
  open: [],
  healed: 0,
  unhealed: 0,
  wentOn: [],
  healedWhen: [],
  healedBatches: [],
};
const encoded = (key: string) => ({ key, encoding: 'utf8' as const });

/** A link whose target can be lost, and come back with other keys at the same address. */
async function startLosable() {
  const own = await startLink();
  let target = own.target;
  onTestFinished(async () => {
    await own.stop();
    await target.stop();
  });
  const comesBackWith = async (values: Record<string, string>) => {
    await target.stop();
    target = await startRedis([], { port: target.port });
    await target.client.mset(values);
  };
  return { ...own, comesBackWith };
}

/** As Temporal does it: what failed meanwhile is tried again. */
async function untilAnswered(sides: LinkSides, request: Partial<SweepRequest>) {
  let { state } = request;
  const onProgress = (reached: SweepState) => {
    state = reached;
  };
  return eventually(() => swept(sides, REPAIR, { ...request, state, onProgress }));
}

test('what the target got meanwhile is found where counting had proven that there is nothing', async () => {
  const { sides, source, target, comesBackWith } = await startLosable();
  await source.client.mset({ 'user:1': 'v', 'user:2': 'v' });
  await target.client.mset({ 'user:1': 'v', 'user:2': 'other' });
  const pausing = new AbortController();
  let asked = 0;
  const waiting: Batches = {
    start: async () => 'batch',
    async ended() {
      asked += 1;
      // Once all was compared.
      if (asked > 1) pausing.abort();
      return null;
    },
  };
  const { state } = await swept(sides, REPAIR, { batches: waiting, signal: pausing.signal });
  expect(state.targetOnly).toBe('scanned');
  await comesBackWith({ 'user:1': 'v', 'user:2': 'v', 'target:1': 'alone' });
  const ended: Batches = { start: async () => 'other', ended: async () => ({ healed: 1, wentOn: [], atMs: 1 }) };
  const { summary } = await untilAnswered(sides, { state, batches: ended });
  expect(summary).toMatchObject({ targetOnly: 'scanned', differing: { extra: 1 } });
});

test('what the target loses while batches are waited for is compared once more', async () => {
  const { sides, source, target, comesBackWith } = await startLosable();
  await source.client.mset({ 'user:1': 'v', 'user:2': 'v' });
  await target.client.mset({ 'user:1': 'v', 'user:2': 'other' });
  const handedOver: string[] = [];
  let asked = 0;
  const batches: Batches = {
    async start(found) {
      handedOver.push(...found.map(({ key }) => `${key}`));
      return 'batch';
    },
    async ended() {
      asked += 1;
      if (asked === 1) return null;
      if (asked === 2) await comesBackWith({ 'user:2': 'v' });
      return { healed: 1, wentOn: [], atMs: Date.now() };
    },
  };
  const { summary } = await untilAnswered(sides, { batches });
  expect(handedOver).toEqual(['user:2', 'user:1']);
  // The part of each side.
  expect(summary).toMatchObject({ redone: 2, handedOver: 2, repaired: 2 });
});

test('batches that wait for a server do not hide that those behind them have ended', async () => {
  const open = Array.from({ length: 25 }, (_, first) => ({ id: `${first}`, first, keys: 1 }));
  const repairs = { ...NOTHING_REPAIRED, handedOver: 25, open };
  const batches: Batches = {
    start: () => expect.fail('nothing differs'),
    ended: async (id) => (Number(id) < 12 ? null : { healed: 1, wentOn: [], atMs: Date.now() }),
  };
  const seen = new AbortController();
  const onProgress = (state: SweepState) => state.repairs!.healed === 13 && seen.abort();
  const state = { parts: [], redone: 0, targetOnly: null, repairs };
  const { state: reached } = await swept(link.sides, REPAIR, { batches, state, onProgress, signal: seen.signal });
  expect(reached.repairs!.open).toEqual(open.slice(0, 12));
});

test('a batch that nobody can say anything of is asked about again, and that is told until it is known', async () => {
  const open = [{ id: 'batch', first: 0, keys: 1 }];
  const repairs = { ...NOTHING_REPAIRED, handedOver: 1, open };
  const told: string[] = [];
  let asked = 0;
  const batches: Batches = {
    start: () => expect.fail('nothing differs'),
    async ended() {
      asked += 1;
      if (asked <= 2) throw new Error('no right to describe');
      return asked === 3 ? null : { healed: 1, wentOn: [], atMs: Date.now() };
    },
  };
  const { summary } = await swept(link.sides, REPAIR, {
    batches,
    state: { parts: [], redone: 0, targetOnly: null, repairs },
    onProgress: () => told.push('progress'),
    onProblem: (line) => told.push(line),
  });
  const problem = 'nobody can say whether 1 batch has ended: no right to describe';
  expect(told.slice(told.indexOf(problem))).toEqual([problem, problem, 'progress', 'progress']);
  expect(summary).toMatchObject({ repaired: 1 });
});

test('of many batches that nobody can say anything of one line is told, whichever are asked', async () => {
  const open = Array.from({ length: 25 }, (_, first) => ({ id: `${first}`, first, keys: 1 }));
  const repairs = { ...NOTHING_REPAIRED, handedOver: 25, open };
  const batches: Batches = {
    start: () => expect.fail('nothing differs'),
    ended: async (id) => {
      if (Number(id) < 2) throw new Error(`${id} is not known`);
      return null;
    },
  };
  const told: string[] = [];
  const seen = new AbortController();
  await swept(link.sides, REPAIR, {
    batches,
    state: { parts: [], redone: 0, targetOnly: null, repairs },
    onProblem: (line) => told.push(line) === 5 && seen.abort(),
    signal: seen.signal,
  });
  expect(new Set(told)).toEqual(new Set(['nobody can say whether 2 batches have ended: 0 is not known']));
});

test('where no batch ends for long, that is told', async () => {
  const open = ['first', 'second'].map((id, first) => ({ id, first, keys: 1 }));
  const told: string[] = [];
  const seen = new AbortController();
  await swept(link.sides, REPAIR, {
    batches: { start: () => expect.fail('nothing differs'), ended: async () => null },
    state: { parts: [], redone: 0, targetOnly: null, repairs: { ...NOTHING_REPAIRED, handedOver: 2, open } },
    quietMs: 1,
    onProblem: (line) => told.push(line) === 2 && seen.abort(),
    signal: seen.signal,
  });
  expect(new Set(told)).toEqual(new Set(['waits for 2 of its batches to end, the first is first']));
});

test('a wait for room among the batches ends when a server beside it fails', async () => {
  // As many as there may be.
  const open = Array.from({ length: 200 }, (_, first) => ({ id: `${first}`, first, keys: 1 }));
  const repairs = { ...NOTHING_REPAIRED, handedOver: 200, open };
  const ledger = { state: { parts: [], redone: 0, targetOnly: null, repairs }, changed() {} };
  const failed = new AbortController();
  const batches: Batches = {
    start: () => expect.fail('there is no room'),
    async ended() {
      failed.abort();
      return null;
    },
  };
  const { signal } = new AbortController();
  const handOver = new HandOver(withMemory(link.sides), { ...DEFAULT_OPTIONS, signal, batches }, ledger);
  const found = { key: Buffer.from('k'), difference: 'missing' as const, foundAtMs: 1 };
  await expect(handOver.take([found], failed.signal)).rejects.toThrow(/abort/);
});

test('of more keys that went on than are known by name none is said to have healed', async () => {
  const keys = Array.from({ length: 600 }, (_, index) => `user:${index}`);
  const values = Object.fromEntries(keys.map((key) => [key, 'v']));
  await link.source.client.mset(values);
  const wentOn: string[] = [];
  const batches: Batches = {
    async start(found) {
      wentOn.push(...found.map(({ key }) => `${key}`));
      return 'batch';
    },
    async ended() {
      await link.target.client.mset(Object.fromEntries(wentOn.slice(0, 500).map((key) => [key, 'v'])));
      return { healed: 0, wentOn: wentOn.map(encoded), atMs: Date.now() };
    },
  };
  const { summary } = await swept(link.sides, REPAIR, { batches });
  expect(summary).toMatchObject({ outcome: 'divergent', handedOver: 600, repaired: 500, unhealed: 100 });
  expect(summary!.listed.filter(({ repaired }) => repaired)).toHaveLength(500);
});

test('however long the names of keys that went on are, what travels with a sign of life stays small', async () => {
  const keys = Array.from({ length: 400 }, (_, index) => `${index}`.padEnd(10_000, 'x'));
  await link.source.client.mset(Object.fromEntries(keys.map((key) => [key, 'v'])));
  const batches = new Map<string, string[]>();
  const { summary, state } = await swept(link.sides, REPAIR, {
    batches: {
      async start(found, first) {
        batches.set(
          `${first}`,
          found.map(({ key }) => `${key}`),
        );
        return `${first}`;
      },
      async ended(id) {
        const its = batches.get(id)!;
        await link.target.client.mset(Object.fromEntries(its.map((key) => [key, 'v'])));
        return { healed: 0, wentOn: its.map(encoded), atMs: Date.now() };
      },
    },
  });
  expect(summary).toMatchObject({ outcome: 'divergent', handedOver: 400 });
  // Temporal takes 2 MiB.
  expect(JSON.stringify(state).length).toBeLessThan(300_000);
});

test('a batch is as large as its keys are in Temporal, where a byte can take six', async () => {
  const keys = Array.from({ length: 100 }, (_, index) => `${index}`.padEnd(10_000, '\u0001'));
  await link.source.client.mset(Object.fromEntries(keys.map((key) => [key, 'v'])));
  const sizes: number[] = [];
  const batches: Batches = {
    start: async (found) => `${sizes.push(JSON.stringify(found.map(({ key }) => encodeKey(key))).length)}`,
    ended: async () => ({ healed: 0, wentOn: [], atMs: Date.now() }),
  };
  await swept(link.sides, REPAIR, { batches });
  expect(Math.max(...sizes)).toBeLessThanOrEqual(BATCH_BYTES);
});
