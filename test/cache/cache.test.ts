/** The cache of an application, in front of a real MariaDB. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { Pool, RowDataPacket } from 'mysql2/promise';
import { describe, expect, test } from 'vitest';
import { type CacheOptions, createCache, startOutboxRelay } from '../../src/cache/index.js';
import { aclUsersOf } from '../../src/cli/acl-users.js';
import { parseConfig } from '../../src/config.js';
import { keyBytes } from '../../src/events/failed-write-codec.js';
import { provideMariadb } from '../../src/stack/programs/index.js';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { until } from '../support/eventually.js';
import type { RedisServer } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import { openShop } from './shop.js';

interface ClientOptions {
  readonly username?: string;
  readonly password?: string;
  readonly enableAutoPipelining?: boolean;
}

await describeWith('a cache of rows', provideMariadb, (programs) => {
  let redis: RedisServer;
  let mysql: Pool;
  const table = { columns: 'id BIGINT PRIMARY KEY, name VARCHAR(64)', user: "1, 'old'" };
  const closing = openShop(programs, table, (shop) => {
    ({ redis, mysql } = shop);
  });

  function open(more: Partial<CacheOptions> = {}, options: ClientOptions = {}) {
    const client = new Redis(redis.url, { maxRetriesPerRequest: 0, retryStrategy: () => 50, ...options });
    client.on('error', () => {});
    closing.push(() => client.disconnect());
    const cache = createCache({ redis: client, mysql, link: 'shop', redisTimeoutMs: 30_000, ...more });
    closing.push(() => cache.close());
    return cache;
  }

  const nameOf = async (id: number): Promise<string | null> => {
    const [rows] = await mysql.query<RowDataPacket[]>('SELECT name FROM users WHERE id = ?', [id]);
    return rows[0]?.name ?? null;
  };
  const name = () => nameOf(1);
  const rename = (to: string) => (tx: { query(sql: string, values: unknown[]): Promise<unknown> }) =>
    tx.query('UPDATE users SET name = ? WHERE id = 1', [to]);
  const outbox = async (): Promise<RowDataPacket[]> =>
    (
      await mysql.query<RowDataPacket[]>(
        'SELECT id, link, CAST(cache_key AS CHAR) AS k FROM keymend_outbox ORDER BY seq',
      )
    )[0];

  test('needs no more rights than `acl print` prints', async () => {
    const mappings = [{ key: 'n:{id}', query: 'SELECT name FROM users WHERE id = :id', value: 'json' }];
    const source = { mysql: { url: 'mysql://a:b@db/shop' } };
    const links = [{ name: 'shop', source, target: { url: redis.url }, mappings }];
    const config = parseConfig(JSON.stringify({ kafka: { brokers: ['kafka:9092'] }, links }), 'the test', {});
    const { user, rules } = aclUsersOf(config.links, config.stream).find(({ role }) => role === 'application')!;
    await redis.client.call('ACL', 'SETUSER', user, 'reset', 'on', '>secret', '~n:*', '+info', ...rules);
    const problems: unknown[] = [];
    const [one, other] = [0, 1].map(() =>
      open({ onProblem: (error) => problems.push(error) }, { username: user, password: 'secret' }),
    );
    const load = async () => {
      await sleep(100);
      return { value: await name(), version: 1 };
    };
    const reads = [one!, other!].map((cache) => cache.read('n:1', load));
    expect((await Promise.all(reads)).map(String)).toEqual(['old', 'old']);
    for (const version of [3, 2]) await one!.update('n:1', rename(`${version}`), { version: () => version });
    await expect(one!.read('n:1', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await one!.read('n:2', async () => null)).toBeNull();
    expect(problems).toEqual([]);
    expect(await redis.client.call('ACL', 'LOG')).toEqual([]);
  });

  test('reaches Redis with a client that makes pipelines of its own accord', async () => {
    const problems: unknown[] = [];
    const cache = open(
      { leaseMs: 60_000, settleMs: 60_000, onProblem: (error) => problems.push(error) },
      { enableAutoPipelining: true },
    );
    expect(String(await cache.read('n:1', name))).toBe('old');
    expect(await redis.client.get('n:1')).toBe('old');
    await cache.update('n:1', rename('new'));
    expect(await redis.client.exists('n:1')).toBe(0);
    expect(problems).toEqual([]);
  });

  describe('update', () => {
    test('writes, deletes what is cached, and records it in the same transaction', async () => {
      const cache = open();
      await redis.client.mset('n:1', 'old', 'n:2', 'other');
      expect(await cache.update(['n:1', 'all'], async (tx) => [await rename('new')(tx), 7][1])).toBe(7);
      expect(await name()).toBe('new');
      expect(await redis.client.keys('n:*')).toEqual(['n:2']);
      expect(await outbox()).toMatchObject([
        { link: 'shop', k: 'n:1' },
        { link: 'shop', k: 'all' },
      ]);
    });

    test('that fails leaves neither its write nor a record', async () => {
      const failing = open().update('n:1', async (tx) => {
        await rename('new')(tx);
        throw new Error('no');
      });
      await expect(failing).rejects.toThrow('no');
      expect(await name()).toBe('old');
      expect(await outbox()).toEqual([]);
    });

    test('goes through while Redis hangs, and leaves its record', async () => {
      const cache = open({ redisTimeoutMs: 100 });
      redis.freeze();
      await cache.update('n:1', rename('new')).finally(() => redis.thaw());
      expect(await outbox()).toMatchObject([{ k: 'n:1' }]);
    });
  });

  describe('read', () => {
    test('lets what was cached at once expire over a tenth of the time to live, and not together', async () => {
      const cache = open();
      const keys = Array.from({ length: 30 }, (_, index) => `ttl:${index}`);
      const begunAt = performance.now();
      await Promise.all(keys.map((key) => cache.read(key, name)));
      const ttls = await Promise.all(keys.map((key) => redis.client.pttl(key)));
      const HOUR_MS = 3_600_000;
      expect(Math.max(...ttls)).toBeLessThanOrEqual(HOUR_MS);
      expect(Math.min(...ttls)).toBeGreaterThanOrEqual(0.9 * HOUR_MS - (performance.now() - begunAt) - 1);
      expect(Math.max(...ttls) - Math.min(...ttls)).toBeGreaterThan(60_000);
    });

    test('loads what is not cached, and only that; also that there is no row', async () => {
      const cache = open();
      let loads = 0;
      const load = (id: number) => async () => {
        loads += 1;
        return nameOf(id);
      };
      for (let i = 0; i < 3; i++) {
        expect((await cache.read('n:1', load(1)))?.toString()).toBe('old');
        expect(await cache.read('n:9', load(9))).toBeNull();
      }
      expect(loads).toBe(2);
      await cache.update('n:9', (tx) => tx.query("INSERT INTO users VALUES (9, 'nine')"));
      expect((await cache.read('n:9', load(9)))?.toString()).toBe('nine');
      await mysql.query('DELETE FROM users WHERE id = 9');
    });

    test('forgets at once that there is no row where that is not to be remembered', async () => {
      const cache = open({ absentMs: 0, leaseMs: 60_000, settleMs: 60_000 });
      let loads = 0;
      const load = async () => {
        loads += 1;
        return null;
      };
      for (let i = 0; i < 2; i++) expect(await cache.read('n:9', load)).toBeNull();
      expect(loads).toBe(2);
      expect(await redis.client.dbsize()).toBe(0);
    });

    test('keeps what it has loaded where its times are no whole numbers', async () => {
      const cache = open({ leaseMs: 60_000.5, settleMs: 60_001, lagMs: 60_000.5, ttlMs: 60_000.5 });
      expect(String(await cache.read('n:1', async () => ({ value: await name(), version: 1 })))).toBe('old');
      expect(await redis.client.get('n:1')).toBe('old');
    });

    test('of one key by ten thousand readers in two processes costs one query, and all are told at once', async () => {
      const caches = [
        open({ leaseMs: 60_000, settleMs: 60_000, redisTimeoutMs: 30_000 }),
        open({ leaseMs: 60_000, settleMs: 60_000, redisTimeoutMs: 30_000 }),
      ];
      let loads = 0;
      await redis.client.config('RESETSTAT');
      const begunAt = performance.now();
      const load = async () => {
        loads += 1;
        await sleep(300);
        return name();
      };
      const reads = Array.from({ length: 10_000 }, (_, i) => caches[i % 2]!.read('n:1', load));
      const values = new Set((await Promise.all(reads)).map(String));
      expect(values).toEqual(new Set(['old']));
      expect(loads).toBe(1);
      const [, evals] = /cmdstat_eval:calls=(\d+)/.exec(await redis.client.info('commandstats'))!;
      expect(Number(evals)).toBeLessThan(50);
      // The lease of a holder that has died would have been waited for.
      expect(performance.now() - begunAt).toBeLessThan(60_000);
    });

    test('that had read the old row can not fill behind a delete', async () => {
      const cache = open();
      let release = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      let hasRead = () => {};
      const reading = new Promise<void>((resolve) => {
        hasRead = resolve;
      });
      const slow = cache.read('n:1', async () => {
        const value = await name();
        hasRead();
        await held;
        return value;
      });
      await reading;
      await cache.update('n:1', rename('new'));
      const waiting = cache.read('n:1', name);
      release();
      expect((await slow)?.toString()).toBe('old');
      expect((await waiting)?.toString()).toBe('new');
      expect(await redis.client.get('n:1')).toBe('new');
    });

    test('has no lease that could outlive the settle of its link', () => {
      expect(() => open({ leaseMs: 2_001 })).toThrow('leaseMs must be from 1 to settleMs (2000), and is 2001');
      expect(() => open({ leaseMs: 501, settleMs: 500 })).toThrow(RangeError);
      open({ leaseMs: 2_001, settleMs: 2_001 });
    });

    test('of a link that settles sooner has a shorter lease by itself', async () => {
      const cache = open({ settleMs: 300 });
      await cache.read('n:1', async () => {
        const [lease] = await redis.client.keys('keymend:lease:*');
        expect(await redis.client.pttl(lease!)).toBeLessThanOrEqual(300);
        return name();
      });
    });

    test('whose load throws says so to its reader, and lets the next one load', async () => {
      const cache = open({ leaseMs: 60_000, settleMs: 60_000 });
      let hasBegun = () => {};
      const begun = new Promise<void>((resolve) => {
        hasBegun = resolve;
      });
      const failing = cache.read('n:1', async () => {
        hasBegun();
        await sleep(50);
        throw new Error('no');
      });
      failing.catch(() => {});
      await begun;
      const other = cache.read('n:1', name);
      const elsewhere = open({ leaseMs: 60_000, settleMs: 60_000 }).read('n:1', name);
      await expect(failing).rejects.toThrow('no');
      expect((await other)?.toString()).toBe('old');
      expect((await elsewhere)?.toString()).toBe('old');
    });

    test('goes to the database while Redis hangs, few at once', async () => {
      const cache = open({ redisTimeoutMs: 50, loadsWithoutRedis: 3 });
      let now = 0;
      let most = 0;
      const load = async () => {
        most = Math.max(most, ++now);
        await sleep(5);
        now -= 1;
        return name();
      };
      redis.freeze();
      const values = await Promise.all(Array.from({ length: 50 }, (_, id) => cache.read(`n:${id}`, load))).finally(() =>
        redis.thaw(),
      );
      expect(new Set(values.map(String))).toEqual(new Set(['old']));
      expect(most).toBe(3);
    });
  });

  describe('the relay', () => {
    const sinkTo = (records: FailedWrite[]) => ({
      async publish(more: readonly FailedWrite[]) {
        records.push(...more);
      },
    });

    test('brings each record to the sink, once, although two of them run', async () => {
      const records: FailedWrite[] = [];
      const cache = open();
      const binary = Buffer.from([110, 58, 0, 255, 39, 92]);
      await Promise.all([...Array(50).keys()].map((i) => cache.update(i === 7 ? binary : `n:${i}`, async () => {})));
      const relays = [0, 1].map(() => startOutboxRelay({ mysql, sink: sinkTo(records), pollMs: 10 }));
      await until(async () => (await outbox()).length === 0);
      await Promise.all(relays.map((relay) => relay.stop()));
      expect(records).toHaveLength(50);
      expect(new Set(records.map(({ id }) => id)).size).toBe(50);
      expect(
        records.some((record) => keyBytes({ key: record.key, encoding: record.encoding ?? 'utf8' }).equals(binary)),
      ).toBe(true);
      expect(records[0]).toMatchObject({ specVersion: 1, link: 'shop', command: 'DEL', outcome: 'unknown' });
    });

    test('that dies behind the sink brings the same records again', async () => {
      const records: FailedWrite[] = [];
      await open().update('n:1', rename('new'));
      const problems: Error[] = [];
      let calls = 0;
      const sink = {
        async publish(more: readonly FailedWrite[]) {
          records.push(...more);
          if (++calls === 1) throw new Error('killed');
        },
      };
      const relay = startOutboxRelay({ mysql, sink, pollMs: 10, onProblem: (error) => problems.push(error) });
      await until(async () => (await outbox()).length === 0);
      await relay.stop();
      expect(problems).toMatchObject([{ message: 'killed' }]);
      expect(records.map(({ id }) => id)).toEqual([records[0]!.id, records[0]!.id]);
    });

    test('keeps no write waiting while its sink hangs', async () => {
      const cache = open();
      await cache.update('n:1', rename('one'));
      let release = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      let hasBegun = () => {};
      const begun = new Promise<void>((resolve) => {
        hasBegun = resolve;
      });
      const sink = {
        publish: () => {
          hasBegun();
          return held;
        },
      };
      const relay = startOutboxRelay({ mysql, sink, pollMs: 10 });
      await begun;
      await mysql.query('SET GLOBAL innodb_lock_wait_timeout = 2');
      await cache.update('n:2', rename('two'));
      expect(await name()).toBe('two');
      release();
      await until(async () => (await outbox()).length === 0);
      await relay.stop();
    });
  });
});
