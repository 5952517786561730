/** The cache of an application whose Redis is a Cluster, or stands behind Sentinels. */
import { Cluster, Redis } from 'ioredis';
import type { Pool, RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CacheOptions, createCache } from '../../src/cache/index.js';
import { slotOf } from '../../src/redis/index.js';
import { provideMariadb } from '../../src/stack/programs/index.js';
import { type RedisCluster, startCluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { startSentinelGroup } from '../support/sentinel.js';
import { describeWith } from '../support/services.js';
import { openShop } from './shop.js';

await describeWith('a cache of rows', provideMariadb, (programs) => {
  let mysql: Pool;
  const table = { columns: 'id BIGINT PRIMARY KEY, name VARCHAR(64)', user: "1, 'old'" };
  const closing = openShop(programs, table, (shop) => {
    ({ mysql } = shop);
  });
  const LONG = { leaseMs: 60_000, settleMs: 60_000, redisTimeoutMs: 30_000 };

  function open(redis: Redis | Cluster, more: Partial<CacheOptions> = {}) {
    redis.on('error', () => {});
    closing.push(() => redis.disconnect());
    const cache = createCache({ redis, mysql, link: 'shop', ...more });
    closing.push(() => cache.close());
    return cache;
  }

  const name = async (): Promise<string> =>
    (await mysql.query<RowDataPacket[]>('SELECT name FROM users WHERE id = 1'))[0][0]!.name;
  const rename = (to: string) => (tx: Pick<Pool, 'query'>) => tx.query('UPDATE users SET name = ? WHERE id = 1', [to]);
  const held = () => {
    let release = () => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    return { until, release };
  };

  /** Thousands of readers, in two processes. @returns how often it was loaded */
  async function loadsOf(caches: readonly ReturnType<typeof open>[], key: string): Promise<number> {
    let loads = 0;
    const load = async () => {
      loads += 1;
      return name();
    };
    const reads = Array.from({ length: 2_000 }, (_, i) => caches[i % caches.length]!.read(key, load));
    expect(new Set((await Promise.all(reads)).map(String))).toEqual(new Set([await name()]));
    return loads;
  }

  describe('on a Cluster', () => {
    let cluster: RedisCluster;
    beforeAll(async () => {
      cluster = await startCluster();
    });
    afterAll(() => cluster?.stop());
    const client = (options: ConstructorParameters<typeof Cluster>[1] = {}) => new Cluster([...cluster.seeds], options);
    /** Of all masters; some have braces that are, or are not, a hash tag. */
    const KEYS = [...[...Array(30).keys()].map((i) => `n:${i}`), 'n:{7}:a', 'n:{}{8}', '}n{', 'n:\xff\0'];

    test('loads each key once, and deletes it, wherever it lies', async () => {
      const problems: Error[] = [];
      const cache = open(client(), { ...LONG, onProblem: (error) => problems.push(error) });
      let loads = 0;
      const load = async () => {
        loads += 1;
        return { value: await name(), version: loads };
      };
      const readAll = () => Promise.all(KEYS.map(async (key) => String(await cache.read(key, load))));
      expect(new Set([...(await readAll()), ...(await readAll())])).toEqual(new Set(['old']));
      expect(loads).toBe(KEYS.length);
      await cache.update(KEYS, rename('new'), { version: () => 1_000 });
      expect(await Promise.all(KEYS.map((key) => cluster.client.exists(key)))).toEqual(KEYS.map(() => 0));
      loads = 1_000;
      expect(new Set(await readAll())).toEqual(new Set(['new']));
      expect(problems).toEqual([]);
    });

    test('lets nobody fill behind a delete with what was read before it', async () => {
      const [slow, other] = [open(client(), LONG), open(client(), LONG)];
      const [begun, end] = [held(), held()];
      const reading = slow.read('slow:1', async () => {
        const value = await name();
        begun.release();
        await end.until;
        return value;
      });
      await begun.until;
      await other.update('slow:1', rename('new'));
      end.release();
      expect(String(await reading)).toBe('old');
      expect(await cluster.client.exists('slow:1')).toBe(0);
      expect(String(await other.read('slow:1', name))).toBe('new');
    });

    test('costs one query at a hot key, and all are told at once, whichever node they listen to', async () => {
      const begunAt = performance.now();
      expect(await loadsOf([open(client(), LONG), open(client(), LONG)], 'hot:1')).toBe(1);
      // Who is not told waits for the end of the lease.
      expect(performance.now() - begunAt).toBeLessThan(60_000);
    });

    test('reads from the database and leaves its record while a slot is on its way, and caches behind it', async () => {
      const cache = open(client(), { redisTimeoutMs: 200 });
      const key = 'n:moving';
      const slot = slotOf(Buffer.from(key));
      const to = cluster.nodes.find((node) => node !== cluster.masterOf(slot))!;
      await cluster.startMovingSlot(slot, to);
      await cache.update(key, rename('new'));
      expect(String(await cache.read(key, name))).toBe('new');
      const [records] = await mysql.query('SELECT 1 FROM keymend_outbox');
      expect(records).toHaveLength(1);
      await cluster.moveSlot(slot, to);
      await eventually(async () => {
        expect(String(await cache.read(key, name))).toBe('new');
        expect(await cluster.client.get(key)).toBe('new');
      });
    });

    test('is refused with a keyPrefix, wherever the client has it', () => {
      for (const options of [{ keyPrefix: 'app:' }, { redisOptions: { keyPrefix: 'app:' } }]) {
        expect(() => open(client({ ...options, lazyConnect: true }))).toThrow('the client has the keyPrefix "app:"');
      }
    });
  });

  describe('behind Sentinels', () => {
    test('goes on after a failover', async () => {
      const group = await startSentinelGroup('cache');
      closing.push(() => group.stop());
      const client = () =>
        new Redis({ sentinels: [...group.sentinels], name: 'cache', maxRetriesPerRequest: 0, retryStrategy: () => 50 });
      const caches = [open(client(), { redisTimeoutMs: 500 }), open(client(), { redisTimeoutMs: 500 })];
      expect(String(await caches[0]!.read('n:1', name))).toBe('old');
      await group.replicated();
      await group.killMaster();
      await eventually(async () => {
        await caches[0]!.update('n:1', rename('new'));
        expect(await group.master.client.exists('n:1')).toBe(0);
        for (const cache of caches) expect(String(await cache.read('n:1', name))).toBe('new');
        expect(await group.master.client.get('n:1')).toBe('new');
      });
      await group.master.client.del('n:1');
      // Two that wait for long: thousands of reads at once keep a busy machine from listening.
      expect(await loadsOf([open(client(), LONG), open(client(), LONG)], 'n:1')).toBe(1);
    });
  });
});
