/**
 * The cache of an application where Redis, its readers, its replicas or its sink are in trouble.
 */
import { Redis } from 'ioredis';
import { createPool, type Pool, type PoolOptions, type RowDataPacket } from 'mysql2/promise';
import { describe, expect, test } from 'vitest';
import { type CacheOptions, createCache, startOutboxRelay } from '../../src/cache/index.js';
import { RecordsRefusedError } from '../../src/events/record-sink.js';
import { provideMariadb } from '../../src/stack/programs/index.js';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { until } from '../support/eventually.js';
import type { RedisServer } from '../support/redis.js';
import { startRelay } from '../support/relay.js';
import { describeWith } from '../support/services.js';
import { openShop } from './shop.js';

await describeWith('a cache of rows in trouble', provideMariadb, (programs) => {
  let redis: RedisServer;
  let mysql: Pool;
  let place: PoolOptions;
  const table = { columns: 'id BIGINT PRIMARY KEY, name VARCHAR(64), version BIGINT NOT NULL', user: "1, 'old', 9" };
  const closing = openShop(programs, table, (shop) => {
    ({ redis, mysql, place } = shop);
  });

  function open(more: Partial<CacheOptions> = {}, options: { readonly keyPrefix?: string } = {}) {
    const client = new Redis(redis.url, { maxRetriesPerRequest: 0, retryStrategy: () => 50, ...options });
    client.on('error', () => {});
    closing.push(() => client.disconnect());
    const cache = createCache({ redis: client, mysql, link: 'shop', redisTimeoutMs: 30_000, ...more });
    closing.push(() => cache.close());
    return cache;
  }

  interface User extends RowDataPacket {
    readonly name: string;
    readonly version: number;
  }
  const row = async (): Promise<User> =>
    (await mysql.query<User[]>('SELECT name, version FROM users WHERE id = 1'))[0][0]!;
  const name = async () => (await row()).name;
  type Transaction = Parameters<Parameters<ReturnType<typeof createCache>['update']>[1]>[0];
  const rename = (to: string) => (tx: Transaction) =>
    tx.query('UPDATE users SET name = ?, version = version + 1 WHERE id = 1', [to]);
  const LONG = { leaseMs: 60_000, settleMs: 60_000 };

  describe('is refused', () => {
    test('a client with a keyPrefix, for the records would name other keys', () => {
      expect(() => open({}, { keyPrefix: 'app:' })).toThrow(
        'link shop: the client has the keyPrefix "app:", which no record would know; give the cache whole keys',
      );
    });

    test('a key that no record could name', async () => {
      const write = async () => expect.unreachable();
      await expect(open().update('keymend:x', write)).rejects.toThrow(/begins with keymend:/);
      await expect(open().update([], write)).rejects.toThrow(/is given no key/);
      await expect(open().update(['n:1', ''], write)).rejects.toThrow(/a key must have 1 to \d+ bytes, and has 0/);
      await expect(open().read(Buffer.alloc(1024 * 1024), name)).rejects.toThrow(RangeError);
    });

    test('a name that no link can have', () => {
      expect(() => open({ link: 'a'.repeat(65) })).toThrow(/is no name of a link/);
    });

    test.each<[Partial<CacheOptions>, string]>([
      [{ loadsWithoutRedis: 0 }, 'loadsWithoutRedis of the cache is 0: it must be a number of at least 1'],
      [{ redisTimeoutMs: Number.NaN }, 'redisTimeoutMs of the cache is NaN: it must be a number of at least 0'],
      [{ ttlMs: Number.POSITIVE_INFINITY }, 'ttlMs of the cache is Infinity: it must be a number from 1 to 9007199'],
      [{ absentMs: -1 }, 'absentMs of the cache is -1: it must be a number from 0 to 9007199'],
      [{ lagMs: -1 }, 'lagMs of the cache is -1: it must be a number from 0 to 9007199'],
    ])('a number with which it would fail later: %o', (options, refusal) => {
      expect(() => open(options)).toThrow(refusal);
    });

    test.each([
      [
        { timeoutMs: Number.POSITIVE_INFINITY },
        'timeoutMs of the relay of keymend_outbox is Infinity: it must be a number from 1',
      ],
      [{ pollMs: -1 }, 'pollMs of the relay of keymend_outbox is -1: it must be a number from 0'],
    ])('a relay whose timer could not wait so: %o', (options, refusal) => {
      const start = () => startOutboxRelay({ mysql, sink: { publish: async () => {} }, ...options });
      expect(start).toThrow(`${refusal} to 86400000`);
    });
  });

  describe('Redis', () => {
    test('that answers too late with a lease gets it back, and nobody waits for it', async () => {
      const cache = open({ ...LONG, redisTimeoutMs: 100 });
      redis.freeze();
      const value = await cache.read('n:1', name).finally(() => redis.thaw());
      expect(String(value)).toBe('old');
      await until(async () => (await redis.client.keys('keymend:lease:*')).length === 0);
      expect(String(await open({ ...LONG, redisTimeoutMs: 30_000 }).read('n:1', name))).toBe('old');
    });

    test('that hangs makes no reader take what another one has loaded before', async () => {
      const cache = open({ redisTimeoutMs: 50 });
      redis.freeze();
      try {
        expect(String(await cache.read('n:1', name))).toBe('old');
        await mysql.query("UPDATE users SET name = 'new'");
        expect(String(await cache.read('n:1', name))).toBe('new');
      } finally {
        redis.thaw();
      }
    });

    test('that takes a look along with its connection is asked again', async () => {
      const relay = await startRelay(redis.port);
      closing.push(() => relay.close());
      const client = new Redis(relay.port, { autoResendUnfulfilledCommands: false, retryStrategy: () => 10 });
      client.on('error', () => {});
      closing.push(() => client.disconnect());
      const cache = createCache({ redis: client, mysql, link: 'shop', redisTimeoutMs: 200 });
      closing.push(() => cache.close());
      expect(String(await cache.read('n:1', name))).toBe('old');
      redis.freeze();
      const late = cache.read('n:1', name);
      await until(async () => client.commandQueue.length === 1);
      relay.cut();
      redis.thaw();
      expect(String(await late)).toBe('old');
      await until(async () => client.status === 'ready');
      expect(String(await cache.read('n:1', () => expect.unreachable('it is cached')))).toBe('old');
    });

    test('that has a look sent twice, for its answer was lost, keeps the reader waiting for nobody', async () => {
      const client = new Redis(redis.url) as Redis & { evalBuffer(...script: unknown[]): Promise<unknown> };
      closing.push(() => client.disconnect());
      const run = client.evalBuffer.bind(client);
      let looks = 0;
      const twice = async (...script: unknown[]) => {
        looks += 1;
        if (looks === 1) await run(...script);
        return run(...script);
      };
      Object.assign(client, { evalBuffer: twice });
      const cache = createCache({ redis: client, mysql, link: 'shop', redisTimeoutMs: 30_000, ...LONG });
      closing.push(() => cache.close());
      expect(String(await cache.read('n:1', name))).toBe('old');
      // A look and a fill: nobody had to look again.
      expect(looks).toBe(2);
    });

    test('that refuses a fill keeps nobody waiting', async () => {
      await redis.client.config('SET', 'maxmemory', '1');
      const problems: Error[] = [];
      const cache = open({ ...LONG, onProblem: (error) => problems.push(error) });
      try {
        expect(String(await cache.read('n:1', name))).toBe('old');
        expect(problems[0]?.message).toMatch(/^link shop: Redis refuses: OOM command not allowed/);
        expect(JSON.stringify(problems, Object.getOwnPropertyNames(problems[0]))).not.toContain('n:1');
      } finally {
        await redis.client.config('SET', 'maxmemory', '0');
      }
      let loads = 0;
      const load = async () => {
        loads += 1;
        if (loads === 1) await redis.client.config('SET', 'maxmemory', '1');
        return name();
      };
      try {
        expect(String(await cache.read('n:1', load))).toBe('old');
      } finally {
        await redis.client.config('SET', 'maxmemory', '0');
      }
      expect(String(await cache.read('n:1', load))).toBe('old');
      expect(String(await cache.read('n:1', load))).toBe('old');
      expect(loads).toBe(2);
    });

    test('is not given what keymend could not compare', async () => {
      const cache = open(LONG);
      const large = 'x'.repeat(1024 * 1024 + 1);
      expect(String(await cache.read('n:1', async () => large))).toBe(large);
      expect(await redis.client.dbsize()).toBe(0);
      expect(String(await cache.read('n:1', async () => large))).toBe(large);
    });
  });

  describe('a key that is written again and again', () => {
    test('costs its readers few loads, for a load that began behind a call is new enough for it', async () => {
      const [readers, writer] = [open(LONG), open(LONG)];
      let loads = 0;
      const overtaken = async () => {
        const value = String(++loads);
        await writer.update('n:1', rename(value));
        return value;
      };
      const values = await Promise.all(Array.from({ length: 100 }, () => readers.read('n:1', overtaken)));
      expect(loads).toBeLessThanOrEqual(3);
      expect(values.every((value) => value !== null)).toBe(true);
      expect(await redis.client.exists('n:1')).toBe(0);
    });

    test('is read from the database by who has waited for two leases of others', async () => {
      const [cache, other] = [open({ leaseMs: 100 }), open(LONG)];
      let release = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      let hasBegun = () => {};
      const begun = new Promise<void>((resolve) => {
        hasBegun = resolve;
      });
      const slow = other.read('n:1', async () => {
        hasBegun();
        await held;
        return 'of the slow one';
      });
      await begun;
      expect(String(await cache.read('n:1', name))).toBe('old');
      release();
      await slow;
    });
  });

  describe('a replica that lags', () => {
    const renameVersioned = (to: string) => async (tx: Transaction) => {
      await rename(to)(tx);
      const [[user]] = await tx.query<User[]>('SELECT name, version FROM users WHERE id = 1');
      return user!.version;
    };
    const version = (written: number) => written;

    /** Reads what the replica had when the test began, until it is asked for the primary. */
    function lagging(past: { readonly value: string | null; readonly version?: number | bigint }) {
      const asked: string[] = [];
      const load = async (from: 'anywhere' | 'primary') => {
        asked.push(from);
        if (from === 'anywhere') return past.version === undefined ? past.value : { ...past, version: past.version };
        const { name, version } = await row();
        return { value: name, version };
      };
      return { load, asked };
    }

    test('can not put the old row back: the primary is asked', async () => {
      const cache = open(LONG);
      const { load, asked } = lagging({ value: 'old', version: 9 });
      await cache.update('n:1', renameVersioned('new'), { version });
      expect(String(await cache.read('n:1', load))).toBe('new');
      expect(await redis.client.get('n:1')).toBe('new');
      expect(asked).toEqual(['anywhere', 'primary']);
    });

    test('is believed once it has what was written', async () => {
      const cache = open(LONG);
      await cache.update('n:1', renameVersioned('new'), { version });
      const { load, asked } = lagging({ value: 'newer', version: 11 });
      expect(String(await cache.read('n:1', load))).toBe('newer');
      expect(asked).toEqual(['anywhere']);
    });

    test('is not believed that there is no row, nor a row without a version', async () => {
      const cache = open(LONG);
      for (const past of [null, 'old']) {
        await cache.update('n:1', renameVersioned(`new ${past}`), { version });
        const { load, asked } = lagging({ value: past });
        expect(String(await cache.read('n:1', load))).toBe(`new ${past}`);
        expect(asked).toEqual(['anywhere', 'primary']);
      }
    });

    test('is not believed that there is no row while nobody compares', async () => {
      const cache = open({ ...LONG, redisTimeoutMs: 100 });
      const { load, asked } = lagging({ value: null });
      const freezing: typeof load = async (from) => {
        redis.freeze();
        return load(from);
      };
      const value = await cache.read('n:1', freezing).finally(() => redis.thaw());
      expect(String(value)).toBe('old');
      expect(asked).toEqual(['anywhere', 'primary']);
    });

    test('can not go back behind what was filled, also where the delete named no version', async () => {
      const cache = open(LONG);
      await cache.read('n:1', lagging({ value: 'tenth', version: 10 }).load);
      await redis.client.del('n:1');
      await mysql.query("UPDATE users SET name = 'eleventh', version = 11");
      expect(String(await cache.read('n:1', lagging({ value: 'old', version: 9 }).load))).toBe('eleventh');
    });

    test('is compared by versions that no number of JavaScript holds', async () => {
      const cache = open(LONG);
      const at = 2n ** 63n;
      await cache.update('n:1', async () => at + 1n, { version: (written) => written });
      const { load, asked } = lagging({ value: 'old', version: at });
      await cache.read('n:1', load);
      expect(asked).toEqual(['anywhere', 'primary']);
      await expect(cache.read('n:2', lagging({ value: 'x', version: 2 ** 53 }).load)).rejects.toThrow(
        'a version must be a whole number from 0 to 2^64 - 1, and exact',
      );
    });

    test('of a write whose version is none rolls the write back', async () => {
      await expect(open().update('n:1', renameVersioned('new'), { version: () => -1 })).rejects.toThrow(RangeError);
      expect(await name()).toBe('old');
    });
  });

  test('a pool that makes something else of rows and columns relays the same records', async () => {
    await open().update(Buffer.from([0xff, 0x00]), rename('new'));
    const pool = createPool({ ...place, rowsAsArray: true, typeCast: false });
    closing.push(() => pool.end());
    const records: FailedWrite[] = [];
    const sink = { publish: async (more: readonly FailedWrite[]) => void records.push(...more) };
    const relay = startOutboxRelay({ mysql: pool, sink, pollMs: 10 });
    await until(async () => records.length === 1);
    await relay.stop();
    expect(records).toEqual([
      {
        ...{
          specVersion: 1,
          id: expect.stringMatching(/^[0-9A-Z]{26}$/),
          link: 'shop',
          key: '/wA=',
          encoding: 'base64',
        },
        ...{ command: 'DEL', outcome: 'unknown', failedAt: expect.stringMatching(/^\d{4}-.*Z$/) },
      },
    ]);
  });

  test('a relay that may not delete what it has taken publishes nothing, and goes on once it may', async () => {
    await mysql.query("CREATE OR REPLACE USER relay IDENTIFIED BY 'x'");
    await mysql.query('GRANT SELECT, UPDATE ON shop.* TO relay');
    const pool = createPool({ ...place, user: 'relay', password: 'x' });
    closing.push(() => pool.end());
    await open().update('n:1', rename('new'));
    const records: string[] = [];
    const sink = {
      publish: async (more: readonly FailedWrite[]) => void records.push(...more.map(({ key }) => key)),
    };
    const problems: string[] = [];
    const onProblem = ({ message }: Error) => {
      problems.push(message);
      throw new Error('of the application');
    };
    const relay = startOutboxRelay({ mysql: pool, sink, pollMs: 10, onProblem });
    await until(async () => problems.length >= 2);
    expect(problems[0]).toMatch(/DELETE command denied/);
    expect(records).toEqual([]);
    await mysql.query('GRANT DELETE ON shop.* TO relay');
    await until(async () => records.length === 1);
    await relay.stop();
  });

  test('a relay that is given nobody to tell warns the process of what keeps it', async () => {
    const warned = new Promise<Error>((resolve) => {
      const heard = (warning: Error) => {
        if (warning.name !== 'KeymendWarning') return;
        process.removeListener('warning', heard);
        resolve(warning);
      };
      process.on('warning', heard);
    });
    const relay = startOutboxRelay({ mysql, sink: { publish: async () => {} }, table: 'nowhere', pollMs: 10 });
    expect((await warned).message).toBe("the relay of nowhere: Table 'shop.nowhere' doesn't exist");
    await relay.stop();
  });

  test('a record that its sink never takes holds up no other, and is told of', async () => {
    const cache = open();
    await mysql.query('TRUNCATE keymend_outbox');
    await mysql.query('ALTER TABLE keymend_outbox AUTO_INCREMENT = 9');
    for (const key of ['n:1', 'n:2', 'n:3']) await cache.update(key, rename(key));
    const records: string[] = [];
    const problems: string[] = [];
    const sink = {
      async publish(more: readonly FailedWrite[]) {
        const refused = more.filter(({ key }) => key === 'n:2');
        records.push(...more.filter((record) => !refused.includes(record)).map(({ key }) => key));
        if (refused.length > 0) throw new RecordsRefusedError('1 record is too large', refused);
      },
    };
    const relay = startOutboxRelay({ mysql, sink, pollMs: 10, onProblem: ({ message }) => problems.push(message) });
    await until(async () => records.length === 2);
    await cache.update('n:4', rename('four'));
    await until(async () => records.length === 3);
    await relay.stop();
    expect(records).toEqual(['n:1', 'n:3', 'n:4']);
    expect(problems).toEqual(['1 record is too large; it stays in keymend_outbox, and this relay asks for it no more']);
    const [left] = await mysql.query<RowDataPacket[]>('SELECT CAST(cache_key AS CHAR) AS k FROM keymend_outbox');
    expect(left).toMatchObject([{ k: 'n:2' }]);
  });
});
