/**
 * A cache of rows for an application: writes that invalidate, and reads that fill. What of it may
 * be lost, late or crossed, docs/mysql.md shows race by race.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import type { Pool, PoolConnection } from 'mysql2/promise';
import { CACHE_LEASE_MS } from '../defaults.js';
import { Bounded } from './bounded.js';
import { Leases, type Look } from './leases.js';
import { OUTBOX_TABLE, recordInvalidations } from './outbox.js';
import { SharedLooks } from './shared-looks.js';
import { WaitingReaders } from './waiting.js';

export interface CacheOptions {
  /** The target of the link. It is duplicated once, to hear of other readers' fills. */
  readonly redis: Redis | Cluster;
  /** Where the rows and the outbox are. */
  readonly mysql: Pool;
  /** The name of the link in `keymend.yaml`. */
  readonly link: string;
  /** How long a value is cached, in ms; less by up to a tenth. Default one hour. */
  readonly ttlMs?: number;
  /**
   * How long it is remembered that there is no such row, in ms. Default 5,000. A write of another
   * program is not seen before; those through `update` are.
   */
  readonly absentMs?: number;
  /**
   * How long a reader may take to load, in ms. Default 2,000, or `settleMs` where that is less. It
   * is no longer than `settleMs`: then no fill that had read the old row can come behind keymend's
   * second look.
   */
  readonly leaseMs?: number;
  /** The `settle` of the link in `keymend.yaml`, in ms. Default 2,000, as it is there. */
  readonly settleMs?: number;
  /** Default `keymend_outbox`. */
  readonly table?: string;
  /** How long to wait for Redis, in ms; then reads go to the database. Default 500. */
  readonly redisTimeoutMs?: number;
  /** Loads at once while Redis does not answer. Default 20. */
  readonly loadsWithoutRedis?: number;
}

export interface Cache {
  /**
   * Writes rows, and sees to it that what is cached of them goes: at once where Redis answers, and
   * in any case by a record in the same transaction, which keymend acts upon.
   * @param keys of the cache, that the write makes stale
   * @returns what `write` returned, once it is committed
   * @throws what `write` threw, and of the database; then it is rolled back, unless only the answer
   *   to its commit was lost
   */
  update<T>(keys: string | Buffer | readonly (string | Buffer)[], write: Write<T>): Promise<T>;
  /**
   * The cached value, or what `load` gives. Of many readers of a key that is not cached one loads.
   * @param load reads the row from the primary; null: there is none. Called again when a delete has
   *   overtaken it
   * @throws what `load` threw
   */
  read(key: string | Buffer, load: Load): Promise<Buffer | null>;
  /** Hears of nothing any more. The clients of the application stay open. */
  close(): void;
}

type Write<T> = (transaction: PoolConnection) => Promise<T>;
type Load = () => Promise<string | Buffer | null>;

/** Redis did not answer in time, or refused. */
class NoRedis extends Error {}

/** A load of this process, by its token. Rejects with what the load threw. */
interface Flight {
  readonly token: string;
  /** `kept`: no delete has overtaken it. */
  readonly ended: Promise<{ readonly kept: boolean; readonly value: Buffer | null }>;
}

type Wait = Extract<Look, { readonly kind: 'wait' }>;

/** @throws RangeError when a lease could outlive the link's `settle` */
export function createCache(options: CacheOptions): Cache {
  return new RowCache(options);
}

class RowCache implements Cache {
  readonly #options: Required<CacheOptions>;
  readonly #leases: Leases;
  readonly #looks: SharedLooks;
  readonly #waiting: WaitingReaders;
  readonly #bounded: Bounded;
  /** Loads of this process that hold the lease, by key. */
  readonly #flights = new Map<string, Flight>();

  constructor(options: CacheOptions) {
    const settleMs = options.settleMs ?? CACHE_LEASE_MS;
    const leaseMs = options.leaseMs ?? Math.min(CACHE_LEASE_MS, settleMs);
    if (!(leaseMs >= 1 && leaseMs <= settleMs)) throw new RangeError(leaseProblem(options.link, leaseMs, settleMs));
    this.#options = {
      ttlMs: 3_600_000,
      absentMs: 5_000,
      table: OUTBOX_TABLE,
      redisTimeoutMs: 500,
      loadsWithoutRedis: 20,
      ...options,
      leaseMs,
      settleMs,
    };
    this.#leases = new Leases(options.redis, this.#options.leaseMs);
    this.#looks = new SharedLooks(this.#leases);
    this.#waiting = new WaitingReaders((options.redis as Redis).duplicate());
    this.#bounded = new Bounded(this.#options.loadsWithoutRedis);
  }

  async update<T>(keys: string | Buffer | readonly (string | Buffer)[], write: Write<T>): Promise<T> {
    const list = typeof keys === 'string' || Buffer.isBuffer(keys) ? [keys] : keys;
    const all = list.map((key) => Buffer.from(key as string));
    await this.#drop(all);
    try {
      return await this.#commit(all, write);
    } finally {
      // Also when it failed: that a commit has no answer does not say that it was not done.
      await this.#drop(all);
    }
  }

  async read(key: string | Buffer, load: Load): Promise<Buffer | null> {
    const bytes = Buffer.from(key as string);
    try {
      let look = await this.#look(bytes);
      while (look.kind === 'wait') look = await this.#await(bytes, look);
      if (look.kind === 'load') return await this.#load(bytes, look.token, load);
      return look.kind === 'value' ? look.value : null;
    } catch (error) {
      if (!(error instanceof NoRedis)) throw error;
      return this.#bounded.run(async () => bufferOf(await load()));
    }
  }

  close(): void {
    this.#waiting.close();
  }

  async #commit<T>(keys: readonly Buffer[], write: Write<T>): Promise<T> {
    const { mysql, table, link } = this.#options;
    const transaction = await mysql.getConnection();
    try {
      await transaction.beginTransaction();
      const result = await write(transaction);
      await recordInvalidations(transaction, { table, link }, keys);
      await transaction.commit();
      transaction.release();
      return result;
    } catch (error) {
      await transaction.rollback().then(
        () => transaction.release(),
        () => transaction.destroy(),
      );
      throw error;
    }
  }

  /** Whether it succeeds or not, the record brings keymend, which looks at the key. */
  async #drop(keys: readonly Buffer[]): Promise<void> {
    await Promise.all(keys.map((key) => this.#asked(this.#leases.drop(key)).catch(() => {})));
  }

  #look(key: Buffer): Promise<Look> {
    return this.#asked(this.#looks.look(key));
  }

  /** As the holder of the lease. */
  async #load(key: Buffer, token: string, load: Load): Promise<Buffer | null> {
    const name = key.toString('latin1');
    const flight: Flight = { token, ended: this.#fly(key, token, load) };
    this.#flights.set(name, flight);
    try {
      return (await flight.ended).value;
    } finally {
      if (this.#flights.get(name) === flight) this.#flights.delete(name);
    }
  }

  async #fly(key: Buffer, token: string, load: Load): Flight['ended'] {
    const { ttlMs, absentMs } = this.#options;
    let value: Buffer | null;
    try {
      value = bufferOf(await load());
    } catch (error) {
      await this.#asked(this.#leases.giveUp(key, token)).catch(() => {});
      throw error;
    }
    // So that what was cached together does not expire together.
    const livesMs = Math.ceil(value === null ? absentMs : ttlMs * (1 - Math.random() / 10));
    const kept = await this.#asked(this.#leases.fill(key, token, value, livesMs)).catch(() => false);
    return { kept, value };
  }

  /**
   * Waits for who holds the lease, then looks again. What was loaded here under the very lease that
   * we saw, and was kept, is as new as if we had looked behind it.
   */
  async #await(key: Buffer, { ms, holder }: Wait): Promise<Look> {
    const flight = this.#flights.get(key.toString('latin1'));
    if (flight?.token === holder) {
      const ended = await flight.ended.catch(() => undefined);
      if (ended?.kept) return ended.value === null ? { kind: 'absent' } : { kind: 'value', value: ended.value };
      return this.#look(key);
    }
    const waiting = this.#waiting.join(this.#leases.channelOf(key));
    try {
      await this.#asked(waiting.listening);
      // It may have ended before we listened.
      const look = await this.#look(key);
      if (look.kind !== 'wait' || look.holder !== holder) return look;
      // The time is for a holder that has died.
      await Promise.race([waiting.told, sleep(ms + 1, undefined, { ref: false })]);
      return await this.#look(key);
    } finally {
      waiting.leave();
    }
  }

  async #asked<T>(answer: Promise<T>): Promise<T> {
    const late = new AbortController();
    const timeout = sleep(this.#options.redisTimeoutMs, undefined, { signal: late.signal }).then(() => {
      throw new NoRedis('no answer in time');
    });
    timeout.catch(() => {});
    try {
      return await Promise.race([answer, timeout]);
    } catch (error) {
      throw error instanceof NoRedis ? error : new NoRedis('refused', { cause: error });
    } finally {
      late.abort();
      answer.catch(() => {});
    }
  }
}

function leaseProblem(link: string, leaseMs: number, settleMs: number): string {
  const must = `leaseMs must be from 1 to settleMs (${settleMs}), and is ${leaseMs}`;
  return `${must}; let link ${link} of keymend.yaml settle for longer, and give settleMs that time`;
}

function bufferOf(value: string | Buffer | null): Buffer | null {
  return value === null ? null : Buffer.from(value as string);
}
