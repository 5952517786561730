/** Mappings that name the version of their rows: what lags can't be filled in, nor written. */
import { Redis } from 'ioredis';
import { createPool, type Pool } from 'mysql2/promise';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createCache, outboxTable } from '../../src/cache/index.js';
import { type LinkConfig, parseConfig } from '../../src/config.js';
import { compareKeys, LinkMemory, reconcileKeys } from '../../src/engine/index.js';
import { cacheModeOf, connectSource } from '../../src/mysql/connect-source.js';
import { connectRedis } from '../../src/redis/index.js';
import { provideMariadb } from '../../src/stack/programs/index.js';
import { startCluster } from '../support/cluster.js';
import { type MariadbServer, startMariadb } from '../support/mariadb.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { describeWith } from '../support/services.js';

const QUERY = 'SELECT name, version FROM users WHERE id = :id';

await describeWith('a mapping that names the version of its rows', provideMariadb, (programs) => {
  let mariadb: MariadbServer;
  let redis: RedisServer;
  let mysql: Pool;
  const closing: (() => unknown)[] = [];

  beforeAll(async () => {
    [mariadb, redis] = await Promise.all([startMariadb(programs), startRedis()]);
    mysql = createPool({ host: '127.0.0.1', port: mariadb.port, user: 'root', database: 'shop' });
    await mysql.query('CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(64), version BIGINT UNSIGNED)');
    await mysql.query(outboxTable());
  });
  afterAll(async () => {
    await Promise.all(closing.map((close) => close()));
    await mysql?.end();
    await Promise.all([mariadb?.stop(), redis?.stop()]);
  });
  beforeEach(async () => {
    await redis.client.flushall();
    await mysql.query("REPLACE INTO users VALUES (1, 'new', 7)");
  });

  function open(mode: 'invalidate' | 'refresh', more: { mapping?: object; target?: object } = {}) {
    const mapping = { key: 'n:{id:int}', query: QUERY, value: { string: 'name' }, version: 'version', ...more.mapping };
    const target = more.target ?? { url: redis.url };
    const links = [{ name: 'shop', source: { mysql: { url: mariadb.url } }, target, mode, mappings: [mapping] }];
    const config = parseConfig(JSON.stringify({ kafka: { brokers: ['localhost:1'] }, links }), 'test', {});
    const link = config.links[0] as LinkConfig;
    const sides = {
      source: connectSource(link, { name: 'source' }),
      target: connectRedis(link.target, { name: 'target' }),
    };
    closing.push(
      () => sides.source.close(),
      () => sides.target.close(),
    );
    const rules = { expiryToleranceMs: 100, deleteGuard: { minimumRatio: 0, minimumGap: 1 }, cache: cacheModeOf(link) };
    const look = async (key = 'n:1') => (await reconcileKeys(sides, [{ key: Buffer.from(key) }], rules))[0]!;
    return { sides, look, rules };
  }

  /** A replica that has version 6, until the primary is asked. */
  function reader(client: Redis) {
    const cache = createCache({ redis: client, mysql, link: 'shop', redisTimeoutMs: 30_000 });
    closing.push(
      () => cache.close(),
      () => client.disconnect(),
    );
    const load = async (from: string) =>
      from === 'primary' ? { value: 'new', version: 7 } : { value: 'old', version: 6 };
    return async (key = 'n:1') => String(await cache.read(key, load));
  }

  test.each([
    ['a look that finds nothing cached', null],
    ['a look that deletes what is stale', 'old'],
    ['a look that finds what the row says', 'new'],
  ])('keeps a replica that lags from putting the old row back behind %s', async (_what, cached) => {
    const read = reader(new Redis(redis.url));
    // Without one it can, for nobody has told of a write.
    expect(await read('n:2')).toBe('old');
    if (cached !== null) await redis.client.set('n:1', cached);
    expect(await open('invalidate').look()).toMatchObject({ outcome: cached === 'old' ? 'repaired' : 'equal' });
    await redis.client.del('n:1');
    expect(await read()).toBe('new');
    expect(await redis.client.get('n:1')).toBe('new');
  });

  test('a full target keeps no version, and what is stale is deleted all the same', async () => {
    await redis.client.set('n:1', 'old');
    await redis.client.set('n:2', 'new');
    await mysql.query("REPLACE INTO users VALUES (2, 'new', 7)");
    const used = Number(/used_memory:(\d+)/.exec(await redis.client.info('memory'))![1]);
    await redis.client.config('SET', 'maxmemory', `${used - 1}`);
    onTestFinished(async () => void (await redis.client.config('SET', 'maxmemory', '0')));
    expect(await open('invalidate').look()).toMatchObject({ outcome: 'repaired', action: 'deleted' });
    expect(await open('invalidate').look('n:2')).toMatchObject({ outcome: 'equal' });
    expect(await redis.client.get('n:1')).toBeNull();
  });

  test('is told nothing by a comparison, which writes nothing', async () => {
    await redis.client.set('n:1', 'old');
    const { sides, rules } = open('invalidate');
    const link = { ...sides, memory: new LinkMemory(sides) };
    const [compared] = await compareKeys(link, [Buffer.from('n:1')], rules);
    expect(compared).toMatchObject({ outcome: 'differs' });
    expect(await redis.client.keys('*')).toEqual(['n:1']);
  });

  test('a row that is written between its reading and that is read anew', async () => {
    await redis.client.set('n:1', 'old');
    const { sides, rules } = open('refresh');
    const { target } = sides;
    const remember = target.rememberVersions.bind(target);
    let times = 0;
    target.rememberVersions = async (versions) => {
      times += 1;
      if (times === 1) {
        await mysql.query("REPLACE INTO users VALUES (1, 'newer', 8)");
        await remember(versions.map((one) => ({ ...one, version: one.version.replace('7', '8') })));
      }
      return remember(versions);
    };
    const [result] = await reconcileKeys(sides, [{ key: Buffer.from('n:1') }], rules);
    expect(result).toMatchObject({ outcome: 'repaired', action: 'restored' });
    expect(times).toBe(2);
    expect(await redis.client.get('n:1')).toBe('newer');
  });

  test('an application that keeps versions for longer is not cut short', async () => {
    const cache = createCache({ redis: redis.client, mysql, link: 'shop', redisTimeoutMs: 30_000, lagMs: 3_600_000 });
    closing.push(() => cache.close());
    await cache.update('n:1', async () => {}, { version: () => 7 });
    await redis.client.set('n:1', 'new');
    expect(await open('invalidate').look()).toMatchObject({ outcome: 'equal' });
    const [name] = await redis.client.keys('keymend:version:*');
    expect(await redis.client.pttl(name!)).toBeGreaterThan(3_000_000);
  });

  test('tells it of what it writes in mode refresh', async () => {
    await redis.client.set('n:1', 'old');
    expect(await open('refresh').look()).toMatchObject({ outcome: 'repaired', action: 'restored' });
    expect(await redis.client.get('n:1')).toBe('new');
    await redis.client.del('n:1');
    expect(await reader(new Redis(redis.url))()).toBe('new');
  });

  test.each(['invalidate', 'refresh'] as const)(
    'replaces nothing newer in mode %s where the row that it reads is older than what is known',
    async (mode) => {
      const cache = createCache({ redis: redis.client, mysql, link: 'shop', redisTimeoutMs: 30_000 });
      closing.push(() => cache.close());
      await cache.update('n:1', async () => {}, { version: () => 8 });
      await redis.client.set('n:1', 'of version 8');
      const result = await open(mode).look();
      expect(result).toMatchObject({ outcome: 'failed', error: { type: 'SourceNotMaster', stage: 'read' } });
      expect((result as { error: Error }).error.message).toMatch(
        /^source \(\S+\) answers with an older version of the row than the cache was told of/,
      );
      expect(await redis.client.get('n:1')).toBe('of version 8');
      await mysql.query("REPLACE INTO users VALUES (1, 'of version 8', 8)");
      expect(await open(mode).look()).toMatchObject({ outcome: 'equal' });
    },
  );

  test('compares versions that no number of JavaScript holds', async () => {
    await mysql.query("REPLACE INTO users VALUES (1, 'new', 18446744073709551615)");
    const { look } = open('invalidate');
    expect(await look()).toMatchObject({ outcome: 'equal' });
    await mysql.query("REPLACE INTO users VALUES (1, 'old', 18446744073709551614)");
    expect(await look()).toMatchObject({ outcome: 'failed', error: { type: 'SourceNotMaster' } });
  });

  test('tells each master of a Cluster', async () => {
    const cluster = await startCluster();
    closing.push(() => cluster.stop());
    const { look } = open('invalidate', { target: { cluster: cluster.nodes.map(({ url }) => url) } });
    await mysql.query("REPLACE INTO users VALUES (2, 'new', 7), (3, 'new', 7), (4, 'new', 7)");
    const read = reader(cluster.client as unknown as Redis);
    for (const key of ['n:1', 'n:2', 'n:3', 'n:4']) {
      expect(await look(key)).toMatchObject({ outcome: 'equal' });
      expect(await read(key)).toBe('new');
    }
  });

  describe('is refused where', () => {
    const refusal = (mapping: object) => open('invalidate', { mapping }).sides.source.check();

    test('there is no such column', async () => {
      await expect(refusal({ version: 'versoin' })).rejects.toThrow(
        /mapping n:\{id:int\}, which finds no column "versoin"; it has name, version/,
      );
    });

    test('it is no integer', async () => {
      await expect(refusal({ version: 'name' })).rejects.toThrow(/takes "name" for a version, which is no integer/);
    });

    test('a row has none', async () => {
      await mysql.query("REPLACE INTO users VALUES (1, 'new', NULL)");
      await redis.client.set('n:1', 'new');
      const result = await open('invalidate').look();
      expect(result).toMatchObject({ outcome: 'failed', error: { type: 'MappingFailed' } });
      expect(String((result as { error: Error }).error.message)).toMatch(/which is NULL or negative/);
    });
  });
});
