/**
 * Readers and writers of a few rows, all at once, writers that die at any step, deletes that are
 * lost. When all have ended, no cached value may be older than its row. So that the check is known
 * to bite, it runs for what is written by hand as well.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { createPool, type Pool, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Cache, createCache, outboxTable, startOutboxRelay } from '../../src/cache/index.js';
import { parseConfig } from '../../src/config.js';
import { reconcileKeys } from '../../src/engine/index.js';
import { keyBytes } from '../../src/events/failed-write-codec.js';
import { cacheModeOf, connectSource } from '../../src/mysql/connect-source.js';
import { connectRedis } from '../../src/redis/index.js';
import { provideMariadb } from '../../src/stack/index.js';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { generatedCases } from '../support/cases.js';
import { type MariadbServer, startMariadb } from '../support/mariadb.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import { until } from '../support/workflow-bed.js';

const KEYS = 40;
const OPERATIONS = generatedCases(4_000);
const AT_ONCE = 24;
const LEASE_MS = 150;
const SETTLE_MS = 200;

/** What a write and a read are, and what is done when all have ended. */
interface Way {
  write(key: number, value: string): Promise<void>;
  read(key: number): Promise<void>;
  end?(): Promise<void>;
}

await describeWith('after readers and writers of cached rows have ended', provideMariadb, (programs) => {
  let mariadb: MariadbServer;
  let server: RedisServer;
  let mysql: Pool;
  let redis: Redis;

  beforeAll(async () => {
    [mariadb, server] = await Promise.all([startMariadb(programs), startRedis()]);
    redis = server.client;
    mysql = createPool({ host: '127.0.0.1', port: mariadb.port, user: 'root', database: 'shop', connectionLimit: 30 });
    await mysql.query('CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(64))');
    await mysql.query(outboxTable());
  });
  afterAll(async () => {
    await mysql?.end();
    await Promise.all([mariadb?.stop(), server?.stop()]);
  });
  beforeEach(async () => {
    await redis.flushall();
    await mysql.query(`REPLACE INTO users VALUES ${[...Array(KEYS).keys()].map((id) => `(${id}, '0')`).join(', ')}`);
  });

  const select = async (id: number): Promise<string> => {
    const [rows] = await mysql.query<RowDataPacket[]>('SELECT name FROM users WHERE id = ?', [id]);
    return rows[0]!.name;
  };
  const store = (id: number, value: string) => mysql.query('UPDATE users SET name = ? WHERE id = ?', [value, id]);
  const chance = (part: number) => Math.random() < part;
  const aMoment = () => (chance(0.2) ? sleep(Math.random() * 20) : undefined);
  /** As often as deletes are lost below. */
  const DIES = 0.5;

  /** As it is written by hand everywhere. */
  const readByHand = async (id: number) => {
    if ((await redis.get(`n:${id}`)) !== null) return;
    const value = await select(id);
    await aMoment();
    await redis.set(`n:${id}`, value);
  };

  async function staleAfter(way: Way): Promise<number> {
    let left = OPERATIONS;
    const worker = async () => {
      while (left-- > 0) {
        const id = Math.floor(Math.random() * KEYS);
        await (chance(0.3) ? way.write(id, `${left}`) : way.read(id));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    await way.end?.();
    let stale = 0;
    for (let id = 0; id < KEYS; id++) {
      const cached = await redis.get(`n:${id}`);
      if (cached !== null && cached !== (await select(id))) stale += 1;
    }
    return stale;
  }

  test('delete and then update leaves old values behind', async () => {
    const write = async (id: number, value: string) => {
      await redis.del(`n:${id}`);
      await sleep(10);
      await store(id, value);
    };
    expect(await staleAfter({ write, read: readByHand })).toBeGreaterThan(0);
  });

  test('update and then delete leaves old values behind', async () => {
    const write = async (id: number, value: string) => {
      await store(id, value);
      if (!chance(DIES)) await redis.del(`n:${id}`);
    };
    expect(await staleAfter({ write, read: readByHand })).toBeGreaterThan(0);
  });

  test('a double delete in memory leaves old values behind when its process dies', async () => {
    const timers: NodeJS.Timeout[] = [];
    const write = async (id: number, value: string) => {
      await redis.del(`n:${id}`);
      await sleep(10);
      await store(id, value);
      timers.push(setTimeout(() => void redis.del(`n:${id}`), SETTLE_MS));
    };
    const end = async () => {
      for (const timer of timers) clearTimeout(timer);
    };
    expect(await staleAfter({ write, read: readByHand, end })).toBeGreaterThan(0);
  });

  test('keymend/cache and two looks leave none, whatever became of the deletes', async () => {
    const flaky = new Redis(server.url, { maxRetriesPerRequest: 0 });
    const caches = [0, 1].map(() =>
      createCache({ redis: losingDeletes(flaky), mysql, link: 'shop', leaseMs: LEASE_MS }),
    );
    const looks = lookingTwice();
    const relay = startOutboxRelay({ mysql, sink: looks.sink, pollMs: 5 });
    const one = (): Cache => caches[chance(0.5) ? 0 : 1]!;
    const stale = await staleAfter({
      async write(id, value) {
        await one().update(`n:${id}`, (tx) => tx.query('UPDATE users SET name = ? WHERE id = ?', [value, id]));
      },
      async read(id) {
        await one().read(`n:${id}`, async () => {
          const value = await select(id);
          await aMoment();
          return value;
        });
      },
      async end() {
        const empty = async () =>
          (await mysql.query<RowDataPacket[]>('SELECT 1 FROM keymend_outbox LIMIT 1'))[0].length === 0;
        await until(empty);
        await relay.stop();
        await looks.ended();
      },
    });
    for (const cache of caches) cache.close();
    flaky.disconnect();
    await looks.close();
    expect(stale).toBe(0);
  });

  /** Half of all deletes never arrive: the process died, or Redis did not answer. */
  function losingDeletes(client: Redis): Redis {
    return new Proxy(client, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        if (name !== 'callBuffer') return value.bind(target);
        return (...args: unknown[]) =>
          String(args[1]).includes('UNLINK') && chance(0.5)
            ? Promise.reject(new Error('lost'))
            : value.apply(target, args);
      },
    });
  }

  /** What the workflow of a key does, without its durability: that is tested with the whole way. */
  function lookingTwice() {
    const text = JSON.stringify({
      kafka: { brokers: ['localhost:1'] },
      links: [
        {
          name: 'shop',
          source: { mysql: { url: mariadb.url } },
          target: { url: server.url },
          mappings: [{ key: 'n:{id:int}', query: 'SELECT name FROM users WHERE id = :id', value: { string: 'name' } }],
        },
      ],
    });
    const link = parseConfig(text, 'test', {}).links[0]!;
    const sides = {
      source: connectSource(link, { name: 'source' }),
      target: connectRedis(link.target, { name: 'target' }),
    };
    const options = {
      expiryToleranceMs: 100,
      deleteGuard: { minimumRatio: 0, minimumGap: 1 },
      cache: cacheModeOf(link),
    };
    const look = async (records: readonly FailedWrite[]) => {
      const names = new Map(records.map((record) => [record.key, record]));
      const keys = [...names.values()].map(({ key, encoding = 'utf8' }) => ({ key: keyBytes({ key, encoding }) }));
      for (let open = keys; open.length > 0; ) {
        const results = await reconcileKeys(sides, open, options);
        open = open.filter((_, index) => results[index]!.outcome === 'failed');
      }
    };
    const second: Promise<void>[] = [];
    return {
      sink: {
        async publish(records: readonly FailedWrite[]) {
          await look(records);
          second.push(sleep(SETTLE_MS).then(() => look(records)));
        },
      },
      ended: () => Promise.all(second),
      close: () => Promise.all([sides.source.close(), sides.target.close()]),
    };
  }
});
