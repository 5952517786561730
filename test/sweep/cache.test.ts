/** Sweeps of a cache in front of a database: each cached value against its row. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseConfig } from '../../src/config.js';
import type { LinkSides } from '../../src/engine/index.js';
import { cacheModeOf, connectSource } from '../../src/mysql/connect-source.js';
import { connectRedis } from '../../src/redis/index.js';
import { provideMariadb } from '../../src/stack/programs/index.js';
import type { CompareLinkReply, SweepOptions, SweepState } from '../../workflows/sweep-messages.js';
import { eventually } from '../support/eventually.js';
import { type MariadbServer, startMariadb } from '../support/mariadb.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import { swept } from './bed.js';

await describeWith('a sweep of a cache in front of MariaDB', provideMariadb, (programs) => {
  const ROWS = 1_000;
  let mariadb: MariadbServer;
  let redis: RedisServer;
  let sides: LinkSides & { readonly source: ReturnType<typeof connectSource> };
  const opened: { close(): Promise<void> }[] = [];

  beforeAll(async () => {
    [mariadb, redis] = await Promise.all([startMariadb(programs), startRedis()]);
    await mariadb.client.query('CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(64))');
    await mariadb.client.query('CREATE TABLE pages (id BIGINT PRIMARY KEY, title VARCHAR(64), body TEXT)');
    await mariadb.client.query(`CREATE FUNCTION but_for_five(id BIGINT, name VARCHAR(64)) RETURNS VARCHAR(64)
      BEGIN IF id = 5 THEN SIGNAL SQLSTATE '45000'; END IF; RETURN name; END`);
    await mariadb.client.query('GRANT EXECUTE ON shop.* TO reader');
    sides = open();
  });
  afterAll(async () => {
    await Promise.all(opened.map((side) => side.close()));
    await Promise.all([mariadb?.stop(), redis?.stop()]);
  });
  beforeEach(async () => {
    const ids = [...Array(ROWS).keys()];
    await redis.client.flushall();
    await mariadb.client.query('DELETE FROM users');
    await mariadb.client.query(`INSERT INTO users VALUES ${ids.map((id) => `(${id}, 'n${id}')`).join(', ')}`);
    await redis.client.mset(Object.fromEntries(ids.map((id) => [`name:${id}`, `n${id}`])));
  });

  /** @param name what the query of a name selects */
  function open(name = 'name', value: object = { string: 'name' }, commandTimeoutMs = 5_000): typeof sides {
    const mappings = [
      { key: 'name:{id:int}', query: `SELECT ${name} FROM users WHERE id = :id`, value },
      { key: 'page:{id:int}', query: 'SELECT title, body FROM pages WHERE id = :id', value: 'hash' },
    ];
    const links = [{ name: 'shop', source: { mysql: { url: mariadb.url } }, target: { url: redis.url }, mappings }];
    const link = parseConfig(JSON.stringify({ kafka: { brokers: ['h:1'] }, links }), 'test', {}).links[0]!;
    expect(cacheModeOf(link)).toBe('invalidate');
    const source = connectSource(link, { name: 'source', commandTimeoutMs });
    const target = connectRedis(link.target, { name: 'target' });
    opened.push(source, target);
    return { source, target };
  }

  const sweep = (options: SweepOptions = {}, request: Parameters<typeof swept>[2] = {}) =>
    swept(sides, options, { cache: 'invalidate', ...request });

  test('finds what its row does not say, and takes what is not cached for no difference', async () => {
    await redis.client.del('name:7', 'name:9');
    await redis.client.mset('name:8', 'old', 'name:1000000', 'of a row that is gone');
    await redis.client.hset('name:9', { name: 'n9' });
    await redis.client.set('name:10', Buffer.alloc(2 * 1024 * 1024, 'x'));
    const { summary } = await sweep();
    expect(summary).toMatchObject({ outcome: 'divergent', compared: ROWS, targetOnly: 'scanned', failed: 0 });
    expect(summary!.differing).toMatchObject({ value: 2, extra: 1, type: 1, missing: 0, expiry: 0 });
    expect(summary!.listed.map(({ key }) => key).sort()).toEqual(['name:10', 'name:1000000', 'name:8', 'name:9']);
  });

  test('leaves out keys that no mapping takes, and those of keymend', async () => {
    await redis.client.mset('session:1', 'x', 'name:01', 'x', 'keymend:lease:{a}:name:1', 'x');
    expect((await sweep()).summary).toMatchObject({ outcome: 'equal', compared: ROWS });
  });

  test('that no mapping takes a key of is not equal: nothing was compared', async () => {
    await redis.client.flushall();
    await redis.client.mset('session:1', 'x', 'keymend:lease:{a}:name:1', 'x');
    const { summary } = await sweep();
    expect(summary).toMatchObject({ outcome: 'incomplete', compared: 0 });
    expect(summary!.reasons).toEqual([
      expect.stringMatching(/^nothing was compared: no mapping takes any of the 1 cached key/),
    ]);
    await redis.client.del('session:1');
    expect((await sweep()).summary).toMatchObject({ outcome: 'equal', compared: 0 });
  });

  test.each(['invalidate', 'refresh'] as const)(
    'takes a hash for equal that is its row, though only the target can compare it, for mode %s',
    async (cache) => {
      const page = { title: 'a title', body: 'b'.repeat(3_000) };
      await mariadb.client.query('REPLACE INTO pages VALUES (1, ?, ?), (2, ?, ?)', [
        ...[page.title, page.body],
        ...[page.title, `${page.body}c`],
      ]);
      await redis.client.hset('page:1', page);
      await redis.client.hset('page:2', page);
      const { summary } = await sweep({}, { cache });
      expect(summary).toMatchObject({ outcome: 'divergent', compared: ROWS + 2, differing: { value: 1, expiry: 0 } });
      expect(summary!.listed.map(({ key }) => key)).toEqual(['page:2']);
    },
  );

  test.each([
    ['has no end in time', 'IF(id = 5, SLEEP(30), name) AS name', undefined, 'within 5000 ms'],
    ['fails', 'but_for_five(id, name) AS name', undefined, 'but with an error, ER_SIGNAL_EXCEPTION (1644)'],
    [
      'has a function without an end',
      'name',
      { module: 'test/mysql/values.js', function: 'neverForFive' },
      'a function that does not answer',
    ],
  ])('goes on behind a key whose query %s', async (_what, name, value, reason) => {
    await redis.client.set('name:8', 'old');
    const { summary } = await swept(open(name, value), {}, { cache: 'invalidate' });
    expect(summary).toMatchObject({ outcome: 'divergent', compared: ROWS, failed: 1, differing: { value: 1 } });
    expect(summary!.reasons).toEqual([expect.stringContaining(reason)]);
  });

  test('stops where every query is slow, and says so', async () => {
    const slow = open('SLEEP(30)', undefined, 2_000);
    // On a busy machine the server may end a query later than who has asked gives it up.
    await eventually(() =>
      expect(swept(slow, {}, { cache: 'invalidate' })).rejects.toMatchObject({ type: 'QueryFailed' }),
    );
  });

  test('goes on where it was', async () => {
    const end = new AbortController();
    const states: SweepState[] = [];
    const onProgress = (state: SweepState) => {
      states.push(state);
      end.abort();
    };
    await sweep({}, { signal: end.signal, onProgress });
    const [first] = states[0]!.parts;
    expect(first).toMatchObject({ side: 'cache', done: false });
    expect(first!.compared).toBeGreaterThan(0);
    let asked = 0;
    const inspect: typeof sides.source.inspect = (keys, ...rest) => {
      asked += keys.length;
      return sides.source.inspect(keys, ...rest);
    };
    const counting = new Proxy(sides.source, {
      get: (port, name) => {
        const value = name === 'inspect' ? inspect : Reflect.get(port, name, port);
        return typeof value === 'function' ? value.bind(port) : value;
      },
    });
    const { summary } = await swept({ ...sides, source: counting }, {}, { cache: 'invalidate', state: states[0] });
    expect(summary).toMatchObject({ outcome: 'equal', compared: ROWS });
    expect(asked).toBe(ROWS - first!.compared);
  });

  test('says of a sample how many differ at most', async () => {
    const { summary } = await sweep({ sample: 0.2 });
    expect(summary).toMatchObject({ outcome: 'incomplete', atMost: expect.any(Number) });
    expect(summary!.compared).toBeGreaterThanOrEqual(0.2 * ROWS);
  });

  describe('that looks again at what was stale', () => {
    const aged = { aged: true };
    const partsOf = ({ summary }: CompareLinkReply) =>
      summary!.consistent!.map(({ withinSeconds, part }) => [withinSeconds, Math.round(ROWS * (1 - part))]);

    test('says which part became right within which time', async () => {
      await redis.client.mset('name:1', 'old', 'name:2', 'old', 'name:3', 'old');
      const onProgress = ({ aged = [] }: SweepState) => {
        if (aged.length === 1) void redis.client.del('name:1');
        if (aged.length === 2) void redis.client.set('name:2', 'n2');
      };
      const reply = await sweep(aged, { agesMs: [1_000, 2_000, 3_000], onProgress });
      expect(partsOf(reply)).toEqual([
        [1, 3],
        [2, 2],
        [3, 1],
      ]);
      expect(reply.summary!.differing.value).toBe(3);
    });

    test('takes what could not be looked at in time for stale', async () => {
      await redis.client.set('name:1', 'old');
      const states: SweepState[] = [];
      const end = new AbortController();
      const onProgress = (state: SweepState) => {
        states.push(state);
        if (state.parts.every(({ done }) => done)) end.abort();
      };
      await sweep(aged, { onProgress, signal: end.signal });
      await redis.client.del('name:1');
      // As if the next worker came 15 s later.
      const state: SweepState = JSON.parse(JSON.stringify(states.at(-1)), (name, value) =>
        name === 'foundAt' ? new Date(Date.parse(value) - 15_000).toISOString() : value,
      );
      expect(partsOf(await sweep(aged, { agesMs: [1_000, 16_000], state }))).toEqual([
        [1, 1],
        [16, 0],
      ]);
    });

    test('waits for nothing where nothing was', async () => {
      expect(partsOf(await sweep(aged))).toEqual([
        [60, 0],
        [300, 0],
        [600, 0],
      ]);
    });
  });
});
