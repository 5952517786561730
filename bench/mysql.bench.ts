/**
 * `keymend/cache` against the double delete that is written by hand: what a write costs, for how
 * long an old value can be read, and what ten thousand readers of one deleted key cost.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { createPool, type Pool, type RowDataPacket } from 'mysql2/promise';
import { test } from 'vitest';
import { type Cache, createCache, outboxTable } from '../src/cache/index.js';
import { provideMariadb } from '../src/stack/index.js';
import { startMariadb } from '../test/support/mariadb.js';
import { startRedis } from '../test/support/redis.js';

const UPDATES = 2_000;
const READERS = 10_000;
const LOAD_MS = 50;
const TURNS = 5;

const round = (ms: number) => `${ms.toFixed(1)} ms`;
const at = (sorted: readonly number[], part: number) => sorted[Math.floor(part * (sorted.length - 1))]!;
const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b);

test('a cache of rows', async () => {
  const programs = await provideMariadb({ environment: process.env, report: console.log });
  const [mariadb, server] = await Promise.all([startMariadb(programs), startRedis()]);
  const mysql = createPool({
    host: '127.0.0.1',
    port: mariadb.port,
    user: 'root',
    database: 'shop',
    connectionLimit: 20,
  });
  const redis = new Redis(server.url);
  const cache = createCache({ redis, mysql, link: 'shop', leaseMs: 30_000, settleMs: 30_000, redisTimeoutMs: 30_000 });
  try {
    await mysql.query('CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(64))');
    await mysql.query("INSERT INTO users VALUES (1, '0')");
    await mysql.query(outboxTable());
    await writes({ cache, mysql, redis });
    await readers({ cache, mysql });
  } finally {
    cache.close();
    redis.disconnect();
    await mysql.end();
    await Promise.all([mariadb.stop(), server.stop()]);
  }
});

const UPDATE = 'UPDATE users SET name = ? WHERE id = 1';

async function byHand(mysql: Pool, redis: Redis, value: string, timers: Promise<unknown>[]): Promise<void> {
  await redis.del('n:1');
  const tx = await mysql.getConnection();
  await tx.beginTransaction();
  await tx.query(UPDATE, [value]);
  await tx.commit();
  tx.release();
  timers.push(sleep(500).then(() => redis.del('n:1')));
}

/** One after the other. An old value can be read from the commit until the next delete is done. */
async function writes({ cache, mysql, redis }: { cache: Cache; mysql: Pool; redis: Redis }): Promise<void> {
  const ratios: number[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    const timers: Promise<unknown>[] = [];
    const hand = await timed((i) => byHand(mysql, redis, `${i}`, timers));
    const ours = await timed((i) => cache.update('n:1', (tx) => tx.query(UPDATE, [`${i}`])));
    await Promise.all(timers);
    ratios.push(at(ours, 0.5) / at(hand, 0.5));
    console.log(
      `a write, p50 and p99: by hand ${round(at(hand, 0.5))} ${round(at(hand, 0.99))}, ours ${round(at(ours, 0.5))} ${round(at(ours, 0.99))}`,
    );
  }
  console.log(`a write costs ${at(sorted(ratios), 0.5).toFixed(2)} of one by hand, median of ${TURNS} turns`);
  const windows: number[] = [];
  for (let i = 0; i < UPDATES / 4; i++) {
    let committedAt = 0;
    // The answer to COMMIT comes behind it: what is measured is at most too short by that.
    await cache.update('n:1', async (tx) => {
      await tx.query(UPDATE, [`${i}`]);
      committedAt = performance.now();
    });
    windows.push(performance.now() - committedAt);
  }
  const window = sorted(windows);
  console.log(
    `from the write to the second delete: p50 ${round(at(window, 0.5))}, p99 ${round(at(window, 0.99))}; by hand it is 500 ms where a reader was in between`,
  );
}

async function timed(write: (turn: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < UPDATES / TURNS; i++) {
    const begunAt = performance.now();
    await write(i);
    times.push(performance.now() - begunAt);
  }
  return sorted(times);
}

async function readers({ cache, mysql }: { cache: Cache; mysql: Pool }): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) {
    await cache.update('n:1', async () => {});
    let queries = 0;
    const load = async () => {
      queries += 1;
      await sleep(LOAD_MS);
      const [rows] = await mysql.query<RowDataPacket[]>('SELECT name FROM users WHERE id = 1');
      return rows[0]!.name as string;
    };
    const begunAt = performance.now();
    const waits = await Promise.all(
      Array.from({ length: READERS }, () => cache.read('n:1', load).then(() => performance.now() - begunAt)),
    );
    console.log(
      `${READERS} readers at once: ${queries} query, p99 of their wait ${round(at(sorted(waits), 0.99))} with a load of ${LOAD_MS} ms`,
    );
  }
}
