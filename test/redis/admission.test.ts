import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { admit } from '../../src/redis/budget/admission.js';
import type { Budget } from '../../src/redis/budget/budget.js';
import { Connection } from '../../src/redis/connection/connection.js';
import { type Admission, type AdmissionRequest, connectRedis, type RedisPort } from '../../src/redis/index.js';
import type { CountCost } from '../../src/redis/scripts/script-runner.js';
import { StandaloneRedis } from '../../src/redis/topologies/standalone.js';
import { portWith, reconcileOne } from '../engine/link.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { sample } from './commandstats.js';

/** As long as no machine takes for an answer, however busy. */
const PATIENT_MS = 60_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function server(): Promise<RedisServer> {
  const started = await startRedis();
  cleanups.push(() => started.stop());
  return started;
}

function portTo({ url }: RedisServer, opsPerSecond?: number): RedisPort {
  const budget = opsPerSecond === undefined ? {} : { budget: { link: 'east-to-west', opsPerSecond } };
  const port = connectRedis({ url }, { name: 'target', commandTimeoutMs: PATIENT_MS, ...budget });
  cleanups.push(() => port.close());
  return port;
}

/** As many keys, each with so many members named. */
function naming(...members: number[]): AdmissionRequest[] {
  return members.map((number) => ({ key: Buffer.from('k'), members: number }));
}

async function admitted(port: RedisPort, requests: readonly AdmissionRequest[]): Promise<Admission> {
  const admission = await port.admit(requests);
  if (!('done' in admission)) throw new Error('not admitted');
  return admission;
}

function counting({ url }: RedisServer, count: CountCost, commandTimeoutMs = PATIENT_MS): RedisPort {
  const connection = new Connection({ url }, { name: 'target', commandTimeoutMs });
  cleanups.push(() => connection.close());
  return new StandaloneRedis(connection, { count });
}

/** Grants everything and remembers what was asked for and settled. */
function openBudget(slice: number): Budget & { reserved: number[]; settled: number[] } {
  const [reserved, settled]: [number[], number[]] = [[], []];
  return {
    slice,
    reserved,
    settled,
    async reserve(operations) {
      reserved.push(operations);
      return { granted: true, settle: (used) => settled.push(used) };
    },
  };
}

const KEYS = Array.from({ length: 10 }, (_, index) => Buffer.from(`key:${index}`));

describe('a round over many keys', () => {
  test('is admitted at once, through the same port, without a budget', async () => {
    const port = portTo(await server());
    expect(await port.admit(naming(...KEYS.map(() => 0)))).toMatchObject({ kind: 'admitted', keys: 10, port });
  });

  test('is admitted in parts of a slice, and one key always', async () => {
    const port = portTo(await server(), 5_000);
    const admission = await admitted(port, naming(...Array(500).fill(0)));
    expect(admission.keys).toBeGreaterThan(5);
    expect(admission.keys).toBeLessThan(12);
    expect((await admitted(port, naming(1_000, 1_000))).keys).toBe(1);
  });

  test('reserves a slice at most, and nearly all of it', async () => {
    const budget = openBudget(60);
    const admission = await admit(budget, naming(...Array(20).fill(0)), () => ({}) as RedisPort);
    expect(admission).toMatchObject({ kind: 'admitted', keys: 6 });
    expect(budget.reserved).toEqual([57]);
  });

  test('reserves more for keys of which many members are named', async () => {
    const budget = openBudget(1_000);
    await admit(budget, naming(0), () => ({}) as RedisPort);
    await admit(budget, naming(100), () => ({}) as RedisPort);
    expect(budget.reserved[1]! - budget.reserved[0]!).toBe(300);
  });
});

describe('what is reserved', () => {
  test.each([
    ['is repaired', (source: RedisServer) => source.client.set('k', 'new'), {}],
    ['is deleted', () => {}, { allowDelete: true }],
  ])('is enough for a small key that %s, and not several times as much', async (_what, write, options) => {
    const [source, target] = await Promise.all([server(), server()]);
    await target.client.set('k', 'old');
    await write(source);
    const budget = openBudget(1_000);
    const counted = (count: CountCost) => counting(target, count);
    const sides = {
      source: portTo(source),
      target: portWith(portTo(target), { admit: (requests) => admit(budget, requests, counted) }),
    };
    expect(await reconcileOne(sides, 'k', options)).toMatchObject({ outcome: 'repaired' });
    expect(budget.settled[0]).toBeLessThanOrEqual(budget.reserved[0]!);
    expect(budget.settled[0]).toBeGreaterThan(budget.reserved[0]! / 2);
  });
});

describe('many bytes', () => {
  test.each([
    [100, 1_000],
    [1_000, 100],
  ])('cost, at %d for an operation, %d operations or a little more', async (bytesPerOperation, operations) => {
    const [source, target] = await Promise.all([server(), server()]);
    await source.client.set('k', randomBytes(100_000));
    const budget = { ...openBudget(1_000), bytesPerOperation };
    const counted = (count: CountCost) => counting(target, count);
    const sides = {
      source: portTo(source),
      target: portWith(portTo(target), { admit: (requests) => admit(budget, requests, counted) }),
    };
    // From now on the server knows the scripts: else what is sent is sent twice, and paid twice.
    await source.client.set('first', 'v');
    await reconcileOne(sides, 'first');
    expect(await reconcileOne(sides, 'k')).toMatchObject({ outcome: 'repaired' });
    expect(budget.settled).toHaveLength(2);
    expect(budget.settled[1]).toBeGreaterThanOrEqual(operations);
    expect(budget.settled[1]).toBeLessThan(operations * 1.5);
  });
});

describe('what goes through an admitted port', () => {
  test('is settled with just what the server counts', async () => {
    const target = await server();
    const port = portTo(target, 100_000);
    await target.client.mset(Object.fromEntries(KEYS.map((key) => [key.toString(), 'v'])));
    // The server knows the script from now on.
    await port.inspect(KEYS);
    const budget = openBudget(1_000);
    const admission = (await admit(budget, naming(0), (count) => counting(target, count))) as Admission;
    await admission.port.check();
    const before = await sample(target);
    await admission.port.inspect(KEYS);
    await admission.port.health();
    await admission.port.readMembers(KEYS.map((key) => ({ key, members: [] })));
    const unknown = KEYS.map((key) => ({ key, known: { digest: '', type: 'none' } }));
    await admission.port.read(unknown);
    await admission.port.readRecipes(unknown);
    await admission.port.scanMembers({ key: KEYS[0]!, type: 'hash', cursor: '0', count: 10 });
    const after = await sample(target);
    admission.done();
    // And the PING of `check`.
    expect(budget.settled).toEqual([after.operations - before.operations + 1]);
  });

  test('counts as all that was reserved when its answer was lost', async () => {
    const target = await server();
    const budget = openBudget(1_000);
    const admission = (await admit(budget, naming(0), (count) => counting(target, count, 1_000))) as Admission;
    await admission.port.check();
    target.freeze();
    await admission.port.inspect(KEYS);
    target.thaw();
    admission.done();
    expect(budget.settled[0]).toBeGreaterThanOrEqual(budget.reserved[0]!);
  });
});
