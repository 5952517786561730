/** What a lease is charged on the timeline that all workers share. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Connection } from '../../src/redis/connection/connection.js';
import { scripts } from '../../src/redis/scripts/script.js';
import { type RowAnswer, runForKey } from '../../src/redis/scripts/script-runner.js';
import { type RedisServer, startRedis } from '../support/redis.js';

const KEY = 'keymend:budget:east-to-west';
/** EVALSHA, TIME twice, GET and SET. */
const OWN_OPERATIONS = 5;
const PER_MS = 2;
const LONGEST_QUEUE_MS = 250;

let target: RedisServer;
let connection: Connection;
beforeAll(async () => {
  target = await startRedis();
  connection = new Connection({ url: target.url }, { name: 'target' });
  // From now on the server knows the script.
  await lease(1, KEY);
});
afterAll(async () => {
  connection?.close();
  await target?.stop();
});

async function lease(operations: number, key: string): Promise<{ kind: string; wait: number }> {
  const numbers = [operations, PER_MS, LONGEST_QUEUE_MS].map(String);
  const { cells } = (await runForKey(connection, scripts.lease, [Buffer.from(key), ...numbers])) as RowAnswer;
  return { kind: String(cells[0]), wait: Number(cells[1]) };
}

/** When it was asked last, and up to when all is leased, in ms of the server's clock. */
async function timeline(key: string): Promise<{ asked: number; leasedUntil: number }> {
  const [asked, leasedUntil] = String(await target.client.get(key))
    .split(' ')
    .map(Number);
  return { asked: asked!, leasedUntil: leasedUntil! };
}

test('one that is granted is charged what was wanted and its own operations, from where the last one ends', async () => {
  const key = 'granted';
  await lease(400, key);
  const before = await timeline(key);
  const { kind, wait } = await lease(100_000, key);
  const after = await timeline(key);
  expect(kind).toBe('granted');
  // Unless the machine stood still until the first one was over.
  const begin = Math.max(before.leasedUntil, after.asked);
  expect(wait).toBe(Math.ceil(begin - after.asked));
  expect(after.leasedUntil - begin).toBeCloseTo((100_000 + OWN_OPERATIONS) / PER_MS, 1);
});

test('one that is refused is charged its own operations alone, and is told when half the queue is over', async () => {
  const key = 'refused';
  await lease(100_000, key);
  const before = await timeline(key);
  const { kind, wait } = await lease(500, key);
  const after = await timeline(key);
  expect(kind).toBe('refused');
  expect(wait).toBe(Math.ceil(before.leasedUntil - after.asked - LONGEST_QUEUE_MS / 2));
  expect(after.leasedUntil - before.leasedUntil).toBeCloseTo(OWN_OPERATIONS / PER_MS, 1);
});
