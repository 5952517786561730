/**
 * Readers and writers of a few rows, all at once: processes that die at any step, a Redis that
 * hangs or whose master dies with what its replica never had, a replica of the database that lags.
 * No read that begins when a write counts as done returns an older row, and no cached value is
 * older than its row when all have ended. So that the check is known to bite, it runs for what is
 * written by hand as well.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { createPool, type Pool, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Cache, createCache, outboxTable, startOutboxRelay } from '../../src/cache/index.js';
import { provideMariadb } from '../../src/stack/programs/index.js';
import { generatedCases, IS_FULL } from '../support/cases.js';
import { until } from '../support/eventually.js';
import { type MariadbServer, startMariadb } from '../support/mariadb.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { startSentinelGroup } from '../support/sentinel.js';
import { describeWith } from '../support/services.js';
import { dyingPool, dyingRedis, type Life, livingAs, noteProblem } from './dying.js';
import { lookingTwice } from './looking-twice.js';
import { dyingMaster, hanging, oneServer, type Place } from './places.js';

const KEYS = 40;
const NAMES = [...Array(KEYS).keys()].map((id) => `n:${id}`);
/** Some seconds; in a full run of 4,000 cases it is a million. */
const OPERATIONS = IS_FULL ? 250 * generatedCases(0) : 4_000;
const OPERATIONS_BY_HAND = 3_000;
const AT_ONCE = 24;
const [LEASE_MS, LAG_MS] = [150, 60];
const SETTLE_MS = LEASE_MS + LAG_MS + 50;
/** Longer than the replica of Redis lags, also where the machine is slow. */
const FAILOVER_SETTLE_MS = 3_000;
const FULL_MS = 3_600_000;

/** What a write and a read are, and what is done when all have ended. */
interface Way {
  /** @returns the version that every read has from here on; null: that is not said */
  write(id: number): Promise<number | null>;
  /** @returns null: the reader has died */
  read(id: number): Promise<number | null>;
  end?(): Promise<void>;
  /** What holds the cache in the end. */
  cache?(): Redis;
}

await describeWith('readers and writers of cached rows', provideMariadb, (programs) => {
  let mariadb: MariadbServer;
  let server: RedisServer;
  let mysql: Pool;
  let redis: Redis;
  /** By key the version that is promised by now. */
  const promised = new Map<number, number>();
  const promise = (id: number, version: number) => promised.set(id, Math.max(version, promised.get(id) ?? 0));

  beforeAll(async () => {
    [mariadb, server] = await Promise.all([startMariadb(programs), startRedis()]);
    redis = server.client;
    mysql = createPool({ host: '127.0.0.1', port: mariadb.port, user: 'root', database: 'shop', connectionLimit: 30 });
    await mysql.query('CREATE TABLE users (id BIGINT PRIMARY KEY, version BIGINT NOT NULL)');
    await mysql.query(outboxTable());
  });
  afterAll(async () => {
    await mysql?.end();
    await Promise.all([mariadb?.stop(), server?.stop()]);
  });
  beforeEach(async () => {
    promised.clear();
    await redis.flushall();
    await mysql.query(`REPLACE INTO users VALUES ${[...Array(KEYS).keys()].map((id) => `(${id}, 0)`).join(', ')}`);
  });

  type Asked = Pick<Pool, 'query'>;
  const select = async (id: number, on: Asked = mysql): Promise<number> =>
    (await on.query<RowDataPacket[]>('SELECT version FROM users WHERE id = ?', [id]))[0][0]!.version;
  const raise = (id: number, on: Asked = mysql) =>
    on.query('UPDATE users SET version = version + 1 WHERE id = ?', [id]);
  const chance = (part: number) => Math.random() < part;
  const aMoment = () => (chance(0.2) ? sleep(Math.random() * 20) : undefined);

  async function faultsOf(
    way: Way,
    operations: number,
  ): Promise<{ readonly oldReads: number; readonly staleAtEnd: number }> {
    let left = operations;
    let oldReads = 0;
    const worker = async () => {
      while (left-- > 0) {
        const id = Math.floor(Math.random() * KEYS);
        if (chance(0.3)) {
          const version = await way.write(id);
          if (version !== null) promise(id, version);
          continue;
        }
        const least = promised.get(id) ?? 0;
        const version = await way.read(id);
        if (version !== null && version < least) oldReads += 1;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    await way.end?.();
    let staleAtEnd = 0;
    for (const [id, cached] of (await (way.cache?.() ?? redis).mget(NAMES)).entries()) {
      if (cached !== null && Number(cached) !== (await select(id))) staleAtEnd += 1;
    }
    return { oldReads, staleAtEnd };
  }

  /** As it is written by hand everywhere. */
  const readByHand = async (id: number) => {
    const cached = await redis.get(`n:${id}`);
    if (cached !== null) return Number(cached);
    const version = await select(id);
    await aMoment();
    await redis.set(`n:${id}`, `${version}`);
    return version;
  };
  const faultsByHand = (way: Omit<Way, 'read'>) => faultsOf({ ...way, read: readByHand }, OPERATIONS_BY_HAND);

  test('that delete and then update have old reads, and leave old values behind', async () => {
    const write = async (id: number) => {
      await redis.del(`n:${id}`);
      await sleep(10);
      await raise(id);
      return select(id);
    };
    const { oldReads, staleAtEnd } = await faultsByHand({ write });
    expect(oldReads).toBeGreaterThan(0);
    expect(staleAtEnd).toBeGreaterThan(0);
  });

  test('that update and then delete have old reads although none dies, and leave old values behind when some do', async () => {
    const write = (dies: number) => async (id: number) => {
      await raise(id);
      const version = await select(id);
      if (chance(dies)) return null;
      await redis.del(`n:${id}`);
      return version;
    };
    expect((await faultsByHand({ write: write(0) })).oldReads).toBeGreaterThan(0);
    expect((await faultsByHand({ write: write(0.3) })).staleAtEnd).toBeGreaterThan(0);
  });

  test('that delete twice, by a timer in memory, leave old values behind when their process dies', async () => {
    const timers: NodeJS.Timeout[] = [];
    const write = async (id: number) => {
      await redis.del(`n:${id}`);
      await sleep(10);
      await raise(id);
      const version = await select(id);
      const deleted = () => promise(id, version);
      timers.push(setTimeout(() => void redis.del(`n:${id}`).then(deleted), SETTLE_MS));
      return null;
    };
    const end = async () => {
      for (const timer of timers) clearTimeout(timer);
    };
    expect((await faultsByHand({ write, end })).staleAtEnd).toBeGreaterThan(0);
  });

  const outboxIsEmpty = () =>
    until(async () => (await mysql.query<RowDataPacket[]>('SELECT 1 FROM keymend_outbox'))[0].length === 0);

  /** The version of each row as it was a moment ago. */
  function laggingReplica() {
    const versions = new Map<number, number>();
    const version = (id: number) => versions.get(id) ?? 0;
    const has = (id: number, now: number) => versions.set(id, Math.max(now, version(id)));
    return {
      version,
      applies: (id: number, now: number) => void sleep(Math.random() * LAG_MS).then(() => has(id, now)),
    };
  }

  interface Faulty {
    readonly operations: number;
    /** Whether fills say their version. */
    readonly versions: boolean;
  }

  /** keymend/cache, and a worker that looks twice. */
  async function faultsOfOurs(place: Place, { operations, versions }: Faulty) {
    const { target, settleMs } = place;
    const client = place.client({ maxRetriesPerRequest: 0, retryStrategy: () => 20 });
    client.on('error', () => {});
    const options = { redis: dyingRedis(client), mysql: dyingPool(mysql), link: 'shop', leaseMs: LEASE_MS };
    const open = () => createCache({ ...options, redisTimeoutMs: 400, lagMs: 60_000, onProblem: noteProblem });
    const caches = [open(), open()];
    const one = (): Cache => caches[chance(0.5) ? 0 : 1]!;
    const looks = lookingTwice({ mariadb, target, settleMs, select, promise });
    const relay = startOutboxRelay({ mysql, sink: looks.sink, pollMs: 5 });
    const replica = laggingReplica();
    const deaths = new Map<string, number>();
    const life = (): Life => ({ stepsLeft: chance(0.3) ? Math.floor(Math.random() * 16) : Number.POSITIVE_INFINITY });
    const unlessDead = async <T>(mine: Life, work: () => Promise<T>): Promise<T | null> => {
      const result = await livingAs(mine, work).catch((error: unknown) => {
        if (mine.diedAt === undefined) throw error;
        return null;
      });
      if (mine.diedAt !== undefined) deaths.set(mine.diedAt, (deaths.get(mine.diedAt) ?? 0) + 1);
      return mine.diedAt === undefined ? result : null;
    };
    let isOver = false;
    const troubled = place.trouble(() => isOver);
    const faults = await faultsOf(
      {
        async write(id) {
          if (!place.takesWrites()) return null;
          const mine = life();
          const write = async (tx: Asked) => {
            await raise(id, tx);
            const version = await select(id, tx);
            mine.committed = () => replica.applies(id, version);
            return version;
          };
          const update = () => one().update(`n:${id}`, write, versions ? { version: (written) => written } : {});
          const version = await unlessDead(mine, update);
          return mine.hadProblem || !place.keepsDeletes ? null : version;
        },
        async read(id) {
          const load = async (from: 'anywhere' | 'primary') => {
            const version = from === 'primary' ? await select(id) : replica.version(id);
            await aMoment();
            return versions ? { value: `${version}`, version } : `${version}`;
          };
          const value = await unlessDead(life(), () => one().read(`n:${id}`, load));
          return value === null ? null : Number(value);
        },
        async end() {
          isOver = true;
          await troubled;
          await outboxIsEmpty();
          await relay.stop();
          await looks.ended();
        },
        cache: place.cache,
      },
      operations,
    );
    for (const cache of caches) cache.close();
    client.disconnect();
    await looks.close();
    const [[sum]] = await mysql.query<RowDataPacket[]>('SELECT CAST(SUM(version) AS UNSIGNED) AS written FROM users');
    return { ...faults, deaths, records: looks.ids.size, written: sum!.written };
  }

  test(
    'of keymend/cache read nothing old and leave nothing old, whoever dies at which step',
    async () => {
      const { deaths, records, written, ...faults } = await faultsOfOurs(hanging(server, SETTLE_MS), {
        operations: OPERATIONS,
        versions: true,
      });
      expect(faults).toEqual({ oldReads: 0, staleAtEnd: 0 });
      // A record for each write that was committed, and for no other.
      expect(records).toBe(written);
      for (const name of ['DEL', 'BEGIN', 'UPDATE', 'INSERT', 'COMMIT', 'look', 'fill']) {
        expect(deaths.get(`before ${name}`), `before ${name}`).toBeGreaterThan(0);
        expect(deaths.get(`behind ${name}`), `behind ${name}`).toBeGreaterThan(0);
      }
    },
    FULL_MS,
  );

  test('of keymend/cache at a replica that lags have old reads where no fill says its version', async () => {
    const healthy = oneServer(server, SETTLE_MS);
    const { oldReads } = await faultsOfOurs(healthy, { operations: OPERATIONS_BY_HAND, versions: false });
    expect(oldReads).toBeGreaterThan(0);
  });

  test('of keymend/cache leave nothing old, although the master dies with deletes that its replica never had', async () => {
    const group = await startSentinelGroup('cache');
    const dies = dyingMaster(group, NAMES, { settleMs: FAILOVER_SETTLE_MS, looked: outboxIsEmpty });
    try {
      const { records, written, oldReads, staleAtEnd } = await faultsOfOurs(dies, {
        operations: OPERATIONS_BY_HAND,
        versions: true,
      });
      expect({ oldReads, staleAtEnd }).toEqual({ oldReads: 0, staleAtEnd: 0 });
      expect(records).toBe(written);
    } finally {
      await group.stop();
    }
  });
});
