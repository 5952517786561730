/**
 * `keymend/cache` against the double delete that is written by hand: what a write costs, for how
 * long an old value can be read, and what ten thousand readers of one deleted key cost.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { createPool, type Pool, type RowDataPacket } from 'mysql2/promise';
import { test } from 'vitest';
import { type Cache, createCache, outboxTable } from '../src/cache/index.js';
import { provideMariadb } from '../src/stack/programs/index.js';
import { startMariadb } from '../test/support/mariadb.js';
import { startRedis } from '../test/support/redis.js';
import { median, report, versions } from './ratio.js';

const UPDATES = 400;
/** Until the second delete, by hand. */
const DELAY_MS = 500;
const WINDOWS = 40;
const READERS = [1_000, 10_000];
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
    const [[server]] = await mysql.query<RowDataPacket[]>('SELECT VERSION() AS version');
    console.log(`${await versions(redis)}, ${server!.version}`);
    await writes({ cache, mysql, redis });
    await windows({ cache, mysql, redis });
    for (const count of READERS) await readers({ cache, mysql }, count);
  } finally {
    cache.close();
    redis.disconnect();
    await mysql.end();
    await Promise.all([mariadb.stop(), server.stop()]);
  }
});

const UPDATE = 'UPDATE users SET name = ? WHERE id = 1';

interface Shop {
  readonly cache: Cache;
  readonly mysql: Pool;
  readonly redis: Redis;
}

/** @returns when the second delete is done */
async function byHand({ mysql, redis }: Shop, value: string, committed = () => {}): Promise<Promise<unknown>[]> {
  await redis.del('n:1');
  const tx = await mysql.getConnection();
  await tx.beginTransaction();
  await tx.query(UPDATE, [value]);
  await tx.commit();
  committed();
  tx.release();
  return [sleep(DELAY_MS).then(() => redis.del('n:1'))];
}

const readByHand = async ({ mysql, redis }: Shop) => {
  const cached = await redis.get('n:1');
  if (cached !== null) return cached;
  const value = await nameOf(mysql);
  await redis.set('n:1', value);
  return value;
};

async function nameOf(mysql: Pool): Promise<string> {
  return (await mysql.query<RowDataPacket[]>('SELECT name FROM users WHERE id = 1'))[0][0]!.name;
}

/** In turns, one write each. */
async function writes(shop: Shop): Promise<void> {
  const later: Promise<unknown>[] = [];
  const ratios: number[] = [];
  for (let turn = 0; turn <= TURNS; turn++) {
    const times: [number[], number[]] = [[], []];
    for (let i = 0; i < UPDATES; i++) {
      times[0].push(await took(async () => void later.push(...(await byHand(shop, `${i}`)))));
      times[1].push(await took(() => shop.cache.update('n:1', (tx) => tx.query(UPDATE, [`${i}`]))));
    }
    const [hand, ours] = times.map(sorted) as [number[], number[]];
    if (turn === 0) continue;
    ratios.push(median(ours) / median(hand));
    console.log(
      `a write, p50 and p99: by hand ${round(at(hand, 0.5))} ${round(at(hand, 0.99))}, ours ${round(at(ours, 0.5))} ${round(at(ours, 0.99))}`,
    );
  }
  await Promise.all(later);
  console.log(`a write costs ${median(ratios).toFixed(2)} of one by hand, median of ${TURNS} turns`);
}

async function took(work: () => Promise<unknown>): Promise<number> {
  const begunAt = performance.now();
  await work();
  return performance.now() - begunAt;
}

/** How long behind its commit the value before is still read, while readers read all the time. */
async function windows(shop: Shop): Promise<void> {
  const ways = {
    'by hand': {
      write: (value: string, committed: () => void) => byHand(shop, value, committed),
      read: () => readByHand(shop),
    },
    ours: {
      async write(value: string, committed: () => void) {
        await shop.cache.update('n:1', (tx) => tx.query(UPDATE, [value]));
        // Behind the second delete: what is measured is too short by that, about a tenth of a ms.
        committed();
      },
      read: async () => String(await shop.cache.read('n:1', () => nameOf(shop.mysql))),
    },
  };
  for (const [name, { write, read }] of Object.entries(ways)) {
    const times: number[] = [];
    for (let i = 0; i < WINDOWS; i++) {
      let [committedAt, oldAt] = [Number.POSITIVE_INFINITY, 0];
      let isOver = false;
      const reader = async () => {
        while (!isOver) {
          const begunAt = performance.now();
          if ((await read()) !== `w${i}` && begunAt > committedAt) oldAt = begunAt;
          await sleep(1);
        }
      };
      const readers = [reader(), reader(), reader(), reader()];
      await write(`w${i}`, () => {
        committedAt = performance.now();
      });
      await sleep(DELAY_MS + 100);
      isOver = true;
      await Promise.all(readers);
      times.push(Math.max(0, oldAt - committedAt));
    }
    const window = sorted(times);
    console.log(
      `an old value is read behind a commit, ${name}: p50 ${round(at(window, 0.5))}, p99 ${round(at(window, 0.99))}`,
    );
  }
}

async function readers({ cache, mysql }: Pick<Shop, 'cache' | 'mysql'>, count: number): Promise<void> {
  const p99s: number[] = [];
  const loads: number[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    await cache.update('n:1', async () => {});
    let queries = 0;
    const load = async () => {
      queries += 1;
      await sleep(LOAD_MS);
      return nameOf(mysql);
    };
    const waits = await Promise.all(Array.from({ length: count }, () => took(() => cache.read('n:1', load))));
    const p99 = at(sorted(waits), 0.99);
    p99s.push(p99);
    loads.push(queries);
    console.log(
      `${count} readers at once: ${queries} query, p99 of their wait ${round(p99)} with a load of ${LOAD_MS} ms`,
    );
  }
  report(`a load and 20 ms: p99 of the wait of ${count} readers`, (LOAD_MS + 20) / median(p99s), 1);
  report(`one query: those of ${count} readers`, 1 / Math.max(...loads), 1);
}
