/** A cached value against the row that it caches: on a real MariaDB and a real Redis. */
import type { RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { type LinkConfig, parseConfig } from '../../src/config.js';
import { compareKeys, LinkMemory, reconcileKeys, reconcileLargeKey } from '../../src/engine/index.js';
import { sizeOf } from '../../src/mysql/cached-value.js';
import { cacheModeOf, connectSource } from '../../src/mysql/connect-source.js';
import { schemaWarnings } from '../../src/mysql/schema.js';
import { connectRedis } from '../../src/redis/index.js';
import { type Provision, provideMariadb, provideRedis74 } from '../../src/stack/programs/index.js';
import { eventually } from '../support/eventually.js';
import { type MariadbServer, startMariadb } from '../support/mariadb.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { startRelay } from '../support/relay.js';
import { describeWith } from '../support/services.js';

const MAPPINGS = `[
  { key: "user:{id:int}", query: "SELECT id, name FROM users WHERE id = :id", value: json },
  { key: "profile:{id:int}", query: "SELECT name, city FROM users WHERE id = ?", value: hash },
  { key: "name:{id:int}", query: "SELECT name FROM users WHERE id = :id", value: { string: name } },
  { key: "by-name:{name}", query: "SELECT id FROM users WHERE name = :name", value: { string: id } },
  { key: "every:{kind}", query: "SELECT all_types.* FROM all_types WHERE :kind IS NOT NULL", value: json },
  { key: "each:{kind}", query: "SELECT all_types.* FROM all_types WHERE :kind IS NOT NULL", value: hash },
  { key: "wide:{id:int}", query: "SELECT a, b, c, d, e, f, g, h, i, j FROM wide WHERE id = :id", value: hash },
]`;

const provide = async (provision: Provision) => ({
  programs: await provideMariadb(provision),
  redis74: await provideRedis74(provision),
});

await describeWith('a link whose source is MariaDB', provide, ({ programs, redis74 }) => {
  let mariadb: MariadbServer;
  let redis: RedisServer;
  const opened: { close(): Promise<void> }[] = [];

  beforeAll(async () => {
    [mariadb, redis] = await Promise.all([startMariadb(programs), startRedis()]);
    await mariadb.client.query(`
      CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(64), city VARCHAR(64)) CHARACTER SET utf8mb4;
      CREATE TABLE wide (id INT PRIMARY KEY, a LONGTEXT, b TEXT, c TEXT, d TEXT, e TEXT, f TEXT, g TEXT, h TEXT, i TEXT, j TEXT);
      CREATE TABLE all_types (
        tiny TINYINT, big BIGINT, huge BIGINT UNSIGNED, zeros INT(6) ZEROFILL, price DECIMAL(20,4), ratio DOUBLE,
        raw VARBINARY(16), bits BIT(9), label VARCHAR(16), nothing VARCHAR(16), doc JSON, body LONGTEXT,
        day DATE, at DATETIME(6), stamp TIMESTAMP(3) NULL, span TIME(2)) CHARACTER SET utf8mb4`);
  });
  afterAll(async () => {
    await Promise.all(opened.map((each) => each.close()));
    await Promise.all([mariadb?.stop(), redis?.stop()]);
  });
  beforeEach(async () => {
    await redis.client.flushall();
    await mariadb.client.query('DELETE FROM users; DELETE FROM wide; DELETE FROM all_types');
    await mariadb.client.query("INSERT INTO users VALUES (1, 'Ada', 'London'), (2, 'Bob', NULL)");
  });

  function linkOf(
    mode: string,
    {
      mappings = MAPPINGS,
      url = mariadb.url,
      target = redis,
    }: { mappings?: string; url?: string; target?: RedisServer } = {},
  ): LinkConfig {
    const text = `
      kafka: { brokers: ["localhost:1"] }
      links:
        - { name: shop, source: { mysql: { url: "${url}" } }, target: { url: "${target.url}" }, mode: ${mode}, mappings: ${mappings.replaceAll('\n', '')} }`;
    return parseConfig(text, 'test', {}).links[0]!;
  }

  function open(mode: string, options: Parameters<typeof linkOf>[1] & { readonly timeoutMs?: number } = {}) {
    const link = linkOf(mode, options);
    const source = connectSource(link, { name: 'source', commandTimeoutMs: options.timeoutMs ?? 30_000 });
    const target = connectRedis(link.target, { name: 'target', commandTimeoutMs: 30_000 });
    opened.push(source, target);
    const sides = { source, target };
    const rules = {
      expiryToleranceMs: 100,
      deleteGuard: { minimumRatio: 0.5, minimumGap: 10 },
      cache: cacheModeOf(link),
    };
    const reconcile = async (...keys: string[]) =>
      reconcileKeys(
        { ...sides, memory: new LinkMemory(sides) },
        keys.map((key) => ({ key: Buffer.from(key) })),
        rules,
      );
    const one = async (key: string) => (await reconcile(key))[0]!;
    return { sides, rules, reconcile, one };
  }

  const failure = async (key: string, options: Parameters<typeof linkOf>[1] = {}) => {
    await redis.client.set(key, 'cached');
    const result = await open('invalidate', options).one(key);
    if (result.outcome !== 'failed') throw new Error(`it ended as ${result.outcome}`);
    expect(await redis.client.get(key)).toBe('cached');
    return `${result.error.type}: ${result.error.message.replace(/^source \(127\.0\.0\.1:\d+\) /, '')}`;
  };

  describe('invalidate', () => {
    test('deletes what the row does not say, and leaves alone what it says', async () => {
      await redis.client.mset('user:1', '{"id":1,"name":"Ada"}', 'user:2', '{"id":2,"name":"Bert"}', 'name:1', 'Ada');
      await redis.client.hset('profile:1', { city: 'London', name: 'Ada' });
      await redis.client.hset('profile:2', { name: 'Bob', city: '' });
      const results = await open('invalidate').reconcile('user:1', 'user:2', 'name:1', 'profile:1', 'profile:2');
      expect(results.map(({ outcome }) => outcome)).toEqual(['equal', 'repaired', 'equal', 'equal', 'repaired']);
      expect((await redis.client.keys('*')).sort()).toEqual(expect.arrayContaining(['name:1', 'profile:1', 'user:1']));
      expect(await redis.client.exists('user:2', 'profile:2')).toBe(0);
    });

    test('deletes what is cached of a row that is gone, although the source seems emptied', async () => {
      for (let id = 100; id < 200; id++) await redis.client.set(`name:${id}`, 'x');
      const results = await open('invalidate').reconcile('name:100', 'name:101');
      expect(results.map(({ outcome }) => outcome)).toEqual(['repaired', 'repaired']);
    });

    test('asks no row for a key that is not cached', async () => {
      const { one } = open('invalidate');
      expect(await one('name:1')).toEqual({ outcome: 'equal' });
      expect(await redis.client.exists('name:1')).toBe(0);
    });

    test('compares a value of each size, and a hash of many fields, by its content', async () => {
      const sizes = [0, 1, 63, 64, 1_000, 3_000, 20_000, 900_000];
      for (const [id, size] of sizes.entries()) {
        const text = `${'é'.repeat(Math.floor(size / 2))}${'x'.repeat(size % 2)}`;
        await mariadb.client.query('INSERT INTO wide (id, a, b) VALUES (?, ?, ?)', [id, text, '7'].slice(0, 3));
      }
      await mariadb.client.query(
        "INSERT INTO wide VALUES (50, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', REPEAT('j', 3000))",
      );
      const { reconcile } = open('refresh');
      const ids = [...sizes.keys(), 50];
      for (const id of ids) await redis.client.hset(`wide:${id}`, 'a', 'stale');
      const first = await reconcile(...ids.map((id) => `wide:${id}`));
      expect(first.map(({ outcome }) => outcome)).toEqual(ids.map(() => 'repaired'));
      const second = await open('invalidate').reconcile(...ids.map((id) => `wide:${id}`));
      expect(second.map(({ outcome }) => outcome)).toEqual(ids.map(() => 'equal'));
      await redis.client.hset('wide:50', 'a', 'A');
      expect(await open('invalidate').one('wide:50')).toMatchObject({ outcome: 'repaired', action: 'deleted' });
    });

    test('leaves alone a hash that its row says, although its fields expire', async () => {
      const target = await startRedis([], { binary: redis74 });
      onTestFinished(() => target.stop());
      const { client } = target;
      await client.hset('profile:1', { name: 'Ada', city: 'London' });
      await client.hset('profile:2', { name: 'Bert' });
      for (const key of ['profile:1', 'profile:2']) await client.call('HEXPIRE', key, '1000', 'FIELDS', '1', 'name');
      const { sides, rules } = open('invalidate', { target });
      const keys = ['profile:1', 'profile:2'].map((key) => Buffer.from(key));
      const compared = await compareKeys({ ...sides, memory: new LinkMemory(sides) }, keys, rules);
      expect(compared).toMatchObject([{ outcome: 'equal' }, { outcome: 'differs', difference: 'value' }]);
      for (const mode of ['invalidate', 'refresh']) {
        expect(await open(mode, { target }).one('profile:1')).toEqual({ outcome: 'equal' });
      }
      expect(await client.call('HTTL', 'profile:1', 'FIELDS', '1', 'name')).not.toEqual([-1]);
      expect(await open('invalidate', { target }).one('profile:2')).toMatchObject({ outcome: 'repaired' });
    });

    test('never takes a hash that its row says for too large', async () => {
      const { sides, rules, one } = open('invalidate');
      await mariadb.client.query('SET GLOBAL max_allowed_packet = 67108864');
      await mariadb.client.query("INSERT INTO wide (id, a) VALUES (1, REPEAT('x', 1000000))");
      await redis.client.hset('wide:1', 'a', 'x'.repeat(1_000_000));
      expect(await one('wide:1')).toEqual({ outcome: 'large' });
      const result = await reconcileLargeKey(sides, { key: Buffer.from('wide:1') }, { ...rules, onProgress() {} });
      expect(result).toMatchObject({ outcome: 'failed', error: { type: 'RowTooLarge' } });
      expect(await redis.client.exists('wide:1')).toBe(1);
    });

    test('counts what a hash takes no lower than the server, and not by much more', async () => {
      const sizes = [1, 20, 100, 250, 1_000, 20_000, 600_000];
      for (const size of sizes) {
        const fields = Object.fromEntries(
          Array.from({ length: Math.min(3_000, Math.ceil(900_000 / size)) }, (_, index) => [
            `f${index}`,
            'x'.repeat(size),
          ]),
        );
        await redis.client.hset('h', fields);
        const { bytes } = sizeOf({ type: 'hash', fields: new Map(Object.entries(fields)) });
        const taken = Number(await redis.client.memory('USAGE', 'h', 'SAMPLES', 0));
        expect(bytes).toBeGreaterThanOrEqual(taken);
        if (size >= 250) expect(bytes).toBeLessThan(1.2 * taken);
        await redis.client.del('h');
      }
    });

    test('deletes a cached value that is too large to be compared, when the row says a small one', async () => {
      await redis.client.set('name:1', Buffer.alloc(2 * 1024 * 1024, 'x'));
      const { sides, rules, one } = open('invalidate');
      expect(await one('name:1')).toMatchObject({ outcome: 'large' });
      const result = await reconcileLargeKey(sides, { key: Buffer.from('name:1') }, { ...rules, onProgress() {} });
      expect(result).toMatchObject({ outcome: 'repaired', action: 'deleted', type: 'string' });
      expect(await redis.client.exists('name:1')).toBe(0);
    });
  });

  describe('refresh', () => {
    test('replaces what the row does not say, and keeps the expiry that the cache gave it', async () => {
      await redis.client.set('user:1', '{"id":1,"name":"Adam"}', 'EX', 1_000);
      await redis.client.set('name:2', 'Bob', 'EX', 1_000);
      const results = await open('refresh').reconcile('user:1', 'name:2', 'name:1');
      expect(results).toMatchObject([
        { outcome: 'repaired', action: 'restored' },
        { outcome: 'equal' },
        { outcome: 'equal' },
      ]);
      expect(await redis.client.get('user:1')).toBe('{"id":1,"name":"Ada"}');
      expect(await redis.client.ttl('user:1')).toBeGreaterThan(900);
      expect(await redis.client.exists('name:1')).toBe(0);
    });

    test('gives it the ttl of its mapping, which makes an equal value no other', async () => {
      const mappings =
        '[{ key: "n:{id:int}", query: "SELECT name FROM users WHERE id = :id", value: { string: name }, ttl: 1h }]';
      await redis.client.mset('n:1', 'Adam', 'n:2', 'Bob');
      const results = await open('refresh', { mappings }).reconcile('n:1', 'n:2');
      expect(results.map(({ outcome }) => outcome)).toEqual(['repaired', 'equal']);
      expect(await redis.client.ttl('n:1')).toBeGreaterThan(3_500);
      expect(await redis.client.ttl('n:2')).toBe(-1);
    });

    test('brings the text of the row, in whatever characters the server begins its connections', async () => {
      await mariadb.client.query("SET GLOBAL init_connect = 'SET NAMES latin1'");
      onTestFinished(() => mariadb.client.query("SET GLOBAL init_connect = ''").then(() => {}));
      await mariadb.client.query("INSERT INTO users VALUES (9, 'é😀', NULL)");
      await redis.client.mset('name:9', 'é😀', 'user:9', '{"id":9,"name":"é😀"}', 'by-name:é😀', '9');
      expect(await open('refresh').reconcile('name:9', 'user:9', 'by-name:é😀')).toEqual(
        Array(3).fill({ outcome: 'equal' }),
      );
    });

    test('deletes what is cached of a row that is gone', async () => {
      await redis.client.set('name:3', 'Eve');
      expect(await open('refresh').one('name:3')).toMatchObject({ outcome: 'repaired', action: 'deleted' });
    });
  });

  describe('bytes', () => {
    const RAW = Buffer.from([0, 255, 39, 92, 10, 128]);

    beforeEach(async () => {
      await mariadb.client.query("SET time_zone = '+05:00'");
      await mariadb.client.query(
        `INSERT INTO all_types VALUES (-1, 9007199254740993, 18446744073709551615, 42, 12345678901234.5600, 0.1, ?, b'100000001',
         'é"\\\\', NULL, '{"n": 9007199254740993}', 'text', '2026-02-28', '2026-02-28 23:59:59.000001', '2026-03-01 00:00:00.500', '-838:59:59.99')`,
        [RAW],
      );
    });

    test('are those of the server: no number becomes a double, no time another zone', async () => {
      await redis.client.set('every:one', 'stale');
      await open('refresh').one('every:one');
      expect(await redis.client.get('every:one')).toBe(
        '{"tiny":-1,"big":"9007199254740993","huge":"18446744073709551615","zeros":42,"price":"12345678901234.5600","ratio":0.1,' +
          `"raw":"${RAW.toString('base64')}","bits":"AQE=","label":"é\\"\\\\","nothing":null,"doc":{"n": 9007199254740993},` +
          '"body":"text","day":"2026-02-28","at":"2026-02-28 23:59:59.000001","stamp":"2026-02-28 19:00:00.500","span":"-838:59:59.99"}',
      );
    });

    test('of a DOUBLE are those that a reader makes of its number', async () => {
      const numbers = [1e20, 1e21, 1.5e300, 1e-7, 5e-324, 0.1, 100, -2.5];
      const { reconcile } = open('invalidate', {
        mappings: '[{ key: "d:{id:int}", query: "SELECT x, y FROM doubles WHERE id = :id", value: json }]',
      });
      await mariadb.client.query('CREATE TABLE doubles (id INT PRIMARY KEY, x DOUBLE, y FLOAT)');
      for (const [id, x] of numbers.entries()) {
        await mariadb.client.query('INSERT INTO doubles VALUES (?, ?, 0.1)', [id, x]);
        await redis.client.set(`d:${id}`, JSON.stringify({ x, y: 0.1 }));
      }
      await mariadb.client.query('INSERT INTO doubles VALUES (99, -0e0, 1e20)');
      await redis.client.set('d:99', JSON.stringify({ x: -0, y: 1e20 }));
      const results = await reconcile(...[...numbers.keys(), 99].map((id) => `d:${id}`));
      expect(results.map(({ outcome }) => outcome)).toEqual([...numbers, 0].map(() => 'equal'));
    });

    test('of a zero date are those of the server', async () => {
      const mappings = '[{ key: "z:{id:int}", query: "SELECT day, at FROM zeros WHERE id = :id", value: json }]';
      await mariadb.client.query(
        "SET sql_mode = ''; CREATE TABLE zeros (id INT, day DATE, at DATETIME); INSERT INTO zeros VALUES (1, 0, 0)",
      );
      await redis.client.set('z:1', '{"day":"0000-00-00","at":"0000-00-00 00:00:00"}');
      expect(await open('invalidate', { mappings }).one('z:1')).toEqual({ outcome: 'equal' });
    });

    test('of a hash are those of each column; NULL is no field', async () => {
      await redis.client.hset('each:one', 'stale', '1');
      await open('refresh').one('each:one');
      const fields = await redis.client.hgetallBuffer('each:one');
      expect(fields.raw).toEqual(RAW);
      expect(fields.bits).toEqual(Buffer.from([1, 1]));
      expect(fields.huge?.toString()).toBe('18446744073709551615');
      expect(fields.zeros?.toString()).toBe('000042');
      expect(fields.nothing).toBeUndefined();
      expect(await open('invalidate').one('each:one')).toEqual({ outcome: 'equal' });
    });

    test('of a key reach the query as they are, whatever a quote means to the server', async () => {
      const name = `x' OR '1'='1\\`;
      await mariadb.client.query('INSERT INTO users VALUES (7, ?, NULL)', [name]);
      await mariadb.client.query("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES'");
      await redis.client.mset(`by-name:${name}`, '7', "by-name:x' OR 1=1 -- ", '1', 'by-name:ADA', '1');
      const results = await open('invalidate').reconcile(`by-name:${name}`, "by-name:x' OR 1=1 -- ", 'by-name:ADA');
      expect(results.map(({ outcome }) => outcome)).toEqual(['equal', 'repaired', 'equal']);
    });

    test('of neighbours beyond the numbers of JavaScript are two rows', async () => {
      await mariadb.client.query(
        "INSERT INTO users VALUES (9007199254740992, 'even', NULL), (9007199254740993, 'odd', NULL)",
      );
      await redis.client.mset('name:9007199254740992', 'even', 'name:9007199254740993', 'odd');
      const results = await open('invalidate').reconcile('name:9007199254740992', 'name:9007199254740993');
      expect(results).toEqual([{ outcome: 'equal' }, { outcome: 'equal' }]);
    });
  });

  describe('what a person has to mend leaves the key alone and says it in one line', () => {
    const one = (query: string, value = 'json') => ({
      mappings: `[{ key: "k:{id}", query: "${query}", value: ${value} }]`,
    });

    test('a key that no mapping takes', async () => {
      expect(await failure('other:1')).toBe('NoMapping: has no mapping that takes this key');
      expect(await failure('user:01')).toMatch(/^NoMapping/);
    });

    test('a query with two rows', async () => {
      const text = await failure('k:x', one('SELECT name FROM users WHERE :id IS NOT NULL'));
      expect(text).toBe('SeveralRows: answers the query of mapping k:{id} with several rows');
    });

    test('a query that finds all rows there are, of which two are sent', async () => {
      const sent = async () => {
        const [rows] = await mariadb.client.query<RowDataPacket[]>("SHOW GLOBAL STATUS LIKE 'Rows_sent'");
        return Number(rows[0]!.Value);
      };
      const before = await sent();
      const query = 'SELECT seq FROM seq_1_to_9000 WHERE (SELECT COUNT(*) FROM seq_1_to_9000) = 9000 AND :id > 0';
      expect(await failure('k:1', one(query))).toMatch(/^SeveralRows/);
      expect((await sent()) - before).toBeLessThan(9_000);
    });

    test('a column that is not there', async () => {
      const text = await failure('k:1', one('SELECT name FROM users WHERE id = :id', '{ string: nme }'));
      expect(text).toBe('MappingFailed: is asked by mapping k:{id}, which finds no column "nme"; it has name');
      const refused = await failure('k:1', one('SELECT nme FROM users WHERE id = :id'));
      expect(refused).toMatch(
        /^MappingFailed: refuses the query of mapping k:\{id\}: ER_BAD_FIELD_ERROR \(1054\): Unknown column 'nme'/,
      );
    });

    test('a column that comes twice', async () => {
      const text = await failure('k:1', one('SELECT name, name FROM users WHERE id = :id'));
      expect(text).toMatch(/finds the column "name" twice/);
    });

    test('a table that is not there, and a write', async () => {
      expect(await failure('k:1', one('SELECT 1 FROM orders WHERE id = :id'))).toMatch(/ER_NO_SUCH_TABLE/);
      expect(await failure('k:1', one('SELECT name FROM users WHERE id = :id INTO OUTFILE \\"x\\"'))).toMatch(
        /^(NoPermission|MappingFailed)/,
      );
    });

    test('wrong credentials', async () => {
      const url = mariadb.url.replace('reader:se%2Fcret', 'reader:wrong');
      expect(await failure('user:1', { url })).toMatch(/^NoPermission: refuses the user, the password or a right/);
      const { sides } = open('invalidate', { url });
      await expect(sides.source.check()).rejects.toMatchObject({ code: 'DBDENIED' });
    });

    test('a row that is larger than what is compared', async () => {
      await mariadb.client.query('SET GLOBAL max_allowed_packet = 67108864');
      await mariadb.client.query('INSERT INTO wide (id, a) VALUES (1, ?)', ['x'.repeat(2 * 1024 * 1024)]);
      expect(await failure('k:1', one('SELECT a FROM wide WHERE id = :id', '{ string: a }'))).toBe(
        'RowTooLarge: answers the query of mapping k:{id} with 2097152 bytes in 1 fields; 1048576 bytes and 5000 fields can be compared',
      );
    });

    test('a function that throws, without what it says', async () => {
      const value = '{ module: "test/mysql/values.js", function: throws }';
      const text = await failure('k:1', one('SELECT name FROM users WHERE id = :id', value));
      expect(text).toBe('MappingFailed: is asked by mapping k:{id}, which has a function that throws (TypeError)');
      const lacking = '{ module: "test/mysql/values.js", function: lacking }';
      expect(await failure('k:1', one('SELECT name FROM users WHERE id = :id', lacking))).toMatch(
        /can't load its function lacking/,
      );
    });

    test.each(['returnsNothing', 'returnsMap', 'returnsDate', 'returnsList', 'returnsInstance'])(
      'a function that makes no value: it %s',
      async (name) => {
        const value = `{ module: "test/mysql/values.js", function: ${name} }`;
        expect(await failure('k:1', one('SELECT name FROM users WHERE id = :id', value))).toBe(
          'MappingFailed: is asked by mapping k:{id}, which has a function that returns neither a text, a Buffer, a plain object of these, nor null',
        );
      },
    );

    test('a function that does not answer, which keeps no key of another mapping waiting', async () => {
      const mappings = `[
        { key: "k:{id}", query: "SELECT name FROM users WHERE id = :id", value: { module: "test/mysql/values.js", function: never } },
        { key: "n:{id}", query: "SELECT name FROM users WHERE id = :id", value: { string: name } }]`;
      await redis.client.mset('k:1', 'Ada', 'n:2', 'Bert', 'k:2', 'Bob');
      const results = await open('invalidate', { mappings, timeoutMs: 2_000 }).reconcile('k:1', 'n:2', 'k:2');
      expect(results).toMatchObject([
        {
          outcome: 'failed',
          error: {
            type: 'MappingFailed',
            message: expect.stringMatching(/which has a function that does not answer within 2000 ms$/),
          },
        },
        { outcome: 'repaired' },
        { outcome: 'equal' },
      ]);
      expect(await redis.client.get('k:1')).toBe('Ada');
    });

    test('a mapping that does not fit the tables is told before any key', async () => {
      const { sides } = open('invalidate', one('SELECT nme FROM users WHERE id = :id'));
      await expect(sides.source.check()).rejects.toMatchObject({ code: 'MAPPING' });
      await expect(open('invalidate').sides.source.check()).resolves.toEqual([]);
    });
  });

  test('a key that is not cached does not differ from its row', async () => {
    const { sides, rules } = open('invalidate');
    const keys = [Buffer.from('name:1'), Buffer.from('name:404')];
    const compared = await compareKeys({ ...sides, memory: new LinkMemory(sides) }, keys, rules);
    expect(compared).toEqual([{ outcome: 'equal' }, { outcome: 'equal' }]);
  });

  test('a table without a primary key is warned of; a view, and a table with one, are not', async () => {
    await mariadb.client.query(
      'CREATE TABLE `no ``key` (id BIGINT, name INT); CREATE VIEW seen AS SELECT * FROM users',
    );
    const mappings = `[
      { key: "a:{id}", query: "SELECT name FROM users WHERE id = :id", value: json },
      { key: "b:{id}", query: "SELECT k.name, u.city FROM \`no \`\`key\` AS k JOIN users AS u ON u.id = k.id WHERE k.id = :id", value: json },
      { key: "c:{id}", query: "SELECT name FROM seen WHERE id = :id", value: json },
    ]`;
    expect(await schemaWarnings(linkOf('invalidate', { mappings }), 2_000)).toEqual([
      'mapping b:{id} reads table no `key, which has no primary key: two rows may be of one key, and then no row is the right one; give the table one',
    ]);
  });

  test('a key that can be read in two ways is warned of', async () => {
    const mappings = `[
      { key: "a:{a}-{b}", query: "SELECT name FROM users WHERE id = :a AND name = :b", value: json },
      { key: "b:{a:int}-{b}", query: "SELECT name FROM users WHERE id = :a AND name = :b", value: json },
      { key: "c:{a}:-{b}", query: "SELECT name FROM users WHERE id = :a AND name = :b", value: json }]`;
    expect(await schemaWarnings(linkOf('invalidate', { mappings }), 2_000)).toEqual([
      'mapping a:{a}-{b} lets "-" stand in {a} as well, which the last one of a key ends; put a colon between the parts',
    ]);
  });

  test('a function of the application makes the value', async () => {
    const mappings =
      '[{ key: "k:{id}", query: "SELECT name, city FROM users WHERE id = :id", value: { module: "test/mysql/values.js", function: greeting } }]';
    await redis.client.mset('k:1', 'Hello Ada of London', 'k:2', 'Hello Bob of London');
    const results = await open('invalidate', { mappings }).reconcile('k:1', 'k:2');
    expect(results.map(({ outcome }) => outcome)).toEqual(['equal', 'repaired']);
  });

  test('a server that was told to refuse writes is not believed', async () => {
    await mariadb.client.query('SET GLOBAL read_only = 1');
    try {
      expect(await failure('name:1')).toMatch(/^SourceNotMaster/);
    } finally {
      await mariadb.client.query('SET GLOBAL read_only = 0');
    }
  });

  test('a reader of Aurora, whose InnoDB alone refuses writes, is not believed', async () => {
    const reader = await startMariadb(programs, ['--innodb-read-only']);
    onTestFinished(() => reader.stop());
    await reader.client.query('CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(64)) ENGINE=Aria');
    expect(await failure('name:1', { url: reader.url })).toMatch(/^SourceNotMaster/);
  });

  test('behind a switchover no row of the old server is believed, and the next look asks the new one', async () => {
    const promoted = await startMariadb(programs);
    const relay = await startRelay(mariadb.port);
    onTestFinished(async () => {
      relay.close();
      await promoted.stop();
      await mariadb.client.query('SET GLOBAL read_only = 0');
    });
    await promoted.client.query(`
      CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(64), city VARCHAR(64));
      INSERT INTO users VALUES (1, 'Eve', NULL), (2, 'Rob', NULL)`);
    const { one, reconcile } = open('invalidate', {
      url: mariadb.url.replace(`:${mariadb.port}/`, `:${relay.port}/`),
    });
    await redis.client.mset('name:1', 'Ada', 'name:2', 'Bob');
    // One connection to the old server, which stays open.
    expect(await one('name:1')).toEqual({ outcome: 'equal' });
    await mariadb.client.query('SET GLOBAL read_only = 1');
    relay.leadTo(promoted.port);
    const first = await reconcile('name:1', 'name:2');
    expect(first).toMatchObject([
      { outcome: 'failed', error: { type: 'SourceNotMaster' } },
      { outcome: 'repaired', action: 'deleted' },
    ]);
    expect(await one('name:1')).toMatchObject({ outcome: 'repaired', action: 'deleted' });
  });

  test('a server whose sessions do not commit by themselves is asked for the present each time', async () => {
    await mariadb.client.query('SET GLOBAL autocommit = 0');
    const { one } = open('invalidate');
    try {
      await redis.client.set('name:1', 'Ada');
      expect(await one('name:1')).toEqual({ outcome: 'equal' });
      await mariadb.client.query("UPDATE users SET name = 'Eve' WHERE id = 1");
      expect(await one('name:1')).toMatchObject({ outcome: 'repaired' });
    } finally {
      await mariadb.client.query('SET GLOBAL autocommit = 1');
    }
  });

  test('what is not committed is no row, whatever the server lets others see', async () => {
    await mariadb.client.query('SET GLOBAL tx_isolation = "READ-UNCOMMITTED"');
    const writer = await mariadb.connect();
    const { one } = open('refresh');
    try {
      await writer.query("START TRANSACTION; UPDATE users SET name = 'Eve' WHERE id = 1");
      await redis.client.set('name:1', 'Ada');
      expect(await one('name:1')).toEqual({ outcome: 'equal' });
    } finally {
      writer.destroy();
      await mariadb.client.query('SET GLOBAL tx_isolation = "REPEATABLE-READ"');
    }
  });

  test('a query that is too slow says nothing of the keys of other mappings', async () => {
    const slow = 'SELECT SLEEP(30) AS name FROM users WHERE id = 1 AND :id IS NOT NULL';
    const mappings = `[
      { key: "k:{id}", query: "${slow}", value: { string: name } },
      { key: "n:{id}", query: "SELECT name FROM users WHERE id = :id", value: { string: name } }]`;
    // More than are asked at once.
    const slowKeys = Array.from({ length: 20 }, (_, index) => `k:${index}`);
    const { reconcile } = open('invalidate', { mappings, timeoutMs: 2_000 });
    // A busy machine may take longer than that for the other key, too.
    await eventually(async () => {
      await redis.client.mset(...[...slowKeys, 'n:1'].flatMap((key) => [key, 'stale']));
      const results = await reconcile(...slowKeys, 'n:1');
      expect(results.pop()).toMatchObject({ outcome: 'repaired' });
      const types = results.map((result) => (result.outcome === 'failed' ? result.error.type : result.outcome));
      // Of the others nobody knows: they are not asked any more.
      expect(new Set(types)).toEqual(new Set(['QueryFailed', 'SourceUnavailable']));
    });
  });

  test('a server that hangs is named within the time of a command, and is asked again later', async () => {
    const { one } = open('invalidate', { timeoutMs: 2_000 });
    await redis.client.set('name:1', 'Adam');
    mariadb.freeze();
    const result = await one('name:1').finally(() => mariadb.thaw());
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'SourceUnavailable' } });
    await eventually(async () => expect(await one('name:1')).toMatchObject({ outcome: 'repaired' }));
  });

  test('a value that a reader writes between the look and the delete is looked at again', async () => {
    const { sides, rules } = open('invalidate');
    await redis.client.set('name:1', 'Adam');
    let once = true;
    const readRecipes: typeof sides.source.readRecipes = async (requests) => {
      const readings = await sides.source.readRecipes(requests);
      if (once) await redis.client.set('name:1', 'Ada');
      once = false;
      return readings;
    };
    const source = new Proxy(sides.source, {
      get: (port, name) => {
        if (name === 'readRecipes') return readRecipes;
        const value = Reflect.get(port, name, port);
        return typeof value === 'function' ? value.bind(port) : value;
      },
    });
    const [result] = await reconcileKeys({ source, target: sides.target }, [{ key: Buffer.from('name:1') }], rules);
    expect(result).toEqual({ outcome: 'equal' });
    expect(await redis.client.get('name:1')).toBe('Ada');
  });
});
