/**
 * A cache of rows for an application: writes that invalidate, and reads that fill. What of it may
 * be lost, late or crossed, docs/mysql.md shows race by race.
 */
import type { Cluster, Redis } from 'ioredis';
import type { Pool, PoolConnection } from 'mysql2/promise';
import { CACHE_LAG_MS, CACHE_LEASE_MS } from '../defaults.js';
import { MAX_KEY_BYTES } from '../events/failed-write-codec.js';
import { isOwnKey, OWN_KEY_REFUSED } from '../own-keys.js';
import { within } from '../patience/within.js';
import { outliveSentinels } from '../redis/index.js';
import { Answers, isNoRedis, LateRedis } from './answers.js';
import { requireFitting, requireNumbers } from './fitting.js';
import { Leases, type Look } from './leases.js';
import { type Load, Loads } from './loads.js';
import { OUTBOX_TABLE, recordInvalidations } from './outbox.js';
import { guarded } from './problems.js';
import { SharedLooks } from './shared-looks.js';
import { digitsOf, type Version } from './versions.js';
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
   * How long it is remembered that there is no such row, in ms; 0: not at all. Default 5,000. A
   * write of another program is not seen before; those through `update` are.
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
  /**
   * How long the version of a row is remembered, in ms: longer than a replica ever lags. Default
   * ten minutes.
   */
  readonly lagMs?: number;
  /**
   * Told each time that Redis does not answer, or refuses: reads go to the database, and records do
   * the rest.
   */
  readonly onProblem?: (error: Error) => void;
}

export interface Cache {
  /**
   * Writes rows, and sees to it that what is cached of them goes: at once where Redis answers, and
   * in any case by a record in the same transaction, which keymend acts upon.
   * @param keys of the cache, that the write makes stale
   * @param more where `load` may read from a replica
   * @returns what `write` returned, once it is committed
   * @throws RangeError when there is no key, or one can be in no record; what `write` threw, and of
   *   the database: then it is rolled back, unless only the answer to its commit was lost
   */
  update<T>(keys: string | Buffer | readonly (string | Buffer)[], write: Write<T>, more?: UpdateOptions<T>): Promise<T>;
  /**
   * The cached value, or what `load` gives. Of many readers of a key that is not cached one loads.
   * @param load reads the row; null: there is none. Where it is told `anywhere`, and gives the
   *   row's version with it, it may read from a replica that lags; where it is told `primary`, what
   *   the replica had was older than is known of
   * @throws what `load` threw; RangeError when a version is none
   */
  read(key: string | Buffer, load: Load): Promise<Buffer | null>;
  /** Hears of nothing any more. The clients of the application stay open. */
  close(): void;
}

type Write<T> = (transaction: PoolConnection) => Promise<T>;

interface UpdateOptions<T> {
  /**
   * Which version the rows of all these keys have now, of what `write` returned; of a delete, one
   * more than the last.
   */
  readonly version?: (written: T) => Version;
}

type Wait = Extract<Look, { readonly kind: 'wait' }>;

/** What was loaded here, and not kept: it is as new as when its load began. */
interface Overtaken {
  readonly kind: 'overtaken';
  /** As of `Loads.tick`. */
  readonly begun: number;
  readonly value: Buffer | null;
}

/**
 * @throws RangeError when an option would fail later, a lease could outlive the link's `settle`, or
 *   no record could name a key
 */
export function createCache(options: CacheOptions): Cache {
  return new RowCache(options);
}

class RowCache implements Cache {
  readonly #options: CacheOptions;
  readonly #leaseMs: number;
  readonly #leases: Leases;
  readonly #answers: Answers;
  readonly #loads: Loads;
  readonly #looks: SharedLooks;
  /** What becomes of those that were told together to wait. */
  readonly #together = new WeakMap<Wait, Promise<Look | Overtaken>>();
  readonly #waiting: WaitingReaders;

  constructor(options: CacheOptions) {
    const { redis, link, settleMs = CACHE_LEASE_MS, onProblem = () => {} } = options;
    const {
      ttlMs = 3_600_000,
      absentMs = 5_000,
      redisTimeoutMs = 500,
      loadsWithoutRedis = 20,
      lagMs = CACHE_LAG_MS,
    } = options;
    this.#leaseMs = options.leaseMs ?? Math.min(CACHE_LEASE_MS, settleMs);
    requireFitting(options, this.#leaseMs, settleMs);
    requireNumbers({ ttlMs, absentMs, redisTimeoutMs, loadsWithoutRedis, lagMs });
    this.#options = options;
    this.#leases = new Leases(redis, { leaseMs: this.#leaseMs, lagMs });
    this.#answers = new Answers({ link, redisTimeoutMs, onProblem: guarded(onProblem) });
    this.#loads = new Loads(this.#leases, this.#answers, { ttlMs, absentMs, loadsWithoutRedis });
    this.#looks = new SharedLooks(this.#leases, (key, look) => this.#answered(key, look));
    const own = (redis as Redis).duplicate();
    outliveSentinels(own);
    this.#waiting = new WaitingReaders(own);
  }

  async update<T>(
    keys: string | Buffer | readonly (string | Buffer)[],
    write: Write<T>,
    { version }: UpdateOptions<T> = {},
  ): Promise<T> {
    const list = typeof keys === 'string' || Buffer.isBuffer(keys) ? [keys] : keys;
    if (list.length === 0) throw new RangeError('update is given no key: its write would leave no record');
    const all = list.map(keyOf);
    let written = '';
    await this.#drop(all, written);
    try {
      return await this.#commit(all, async (transaction) => {
        const result = await write(transaction);
        if (version !== undefined) written = digitsOf(version(result));
        return result;
      });
    } catch (error) {
      // A version that no row has would keep fills from the replicas away.
      written = '';
      throw error;
    } finally {
      // Also when it failed: that a commit has no answer does not say that it was not done.
      await this.#drop(all, written);
    }
  }

  async read(key: string | Buffer, load: Load): Promise<Buffer | null> {
    const bytes = keyOf(key);
    // A lease may end by time, and the one behind it: who is overtaken longer than that loads
    // alone.
    const [called, until] = [this.#loads.tick(), performance.now() + 2 * this.#leaseMs];
    let look: Look;
    try {
      look = await this.#looks.look(bytes);
      while (look.kind === 'wait') {
        if (performance.now() >= until) return await this.#loads.alone(bytes, load);
        const told = await this.#awaitTogether(bytes, look, until);
        if (told.kind !== 'overtaken') look = told;
        else if (told.begun > called) return told.value;
        else look = await this.#looks.look(bytes);
      }
    } catch (error) {
      if (!isNoRedis(error)) throw error;
      return this.#loads.alone(bytes, load);
    }
    if (look.kind === 'load') return this.#loads.withLease(bytes, look.token, load);
    return look.kind === 'value' ? look.value : null;
  }

  close(): void {
    this.#waiting.close();
  }

  async #commit<T>(keys: readonly Buffer[], write: Write<T>): Promise<T> {
    const { mysql, table = OUTBOX_TABLE, link } = this.#options;
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
  async #drop(keys: readonly Buffer[], version: string): Promise<void> {
    await Promise.all(keys.map((key) => this.#answers.of(this.#leases.drop(key, version)).catch(() => {})));
  }

  async #answered(key: Buffer, look: Promise<Look>): Promise<Look> {
    try {
      return await this.#answers.of(look);
    } catch (error) {
      // A lease that comes too late is nobody's.
      if (error instanceof LateRedis) look.then((late) => this.#giveBack(key, late)).catch(() => {});
      throw error;
    }
  }

  async #giveBack(key: Buffer, look: Look): Promise<void> {
    if (look.kind === 'load') await this.#leases.giveUp(key, look.token);
  }

  /** So that ten thousand readers cost little more than one: the first of them waits for all. */
  #awaitTogether(key: Buffer, wait: Wait, until: number): Promise<Look | Overtaken> {
    const known = this.#together.get(wait);
    if (known !== undefined) return known;
    const { first, others } = this.#looks.shared<Overtaken>(this.#await(key, wait, until));
    this.#together.set(wait, others);
    return first;
  }

  /**
   * Waits for who holds the lease, then looks again. What was loaded here under the very lease that
   * we saw, and was kept, is as new as if we had looked behind it.
   */
  async #await(key: Buffer, { ms, holder }: Wait, until: number): Promise<Look | Overtaken> {
    const flight = this.#loads.flightOf(key);
    if (flight?.token === holder) {
      const ended = await within(until - performance.now(), flight.ended).catch(() => 'late' as const);
      if (ended === 'late') return this.#looks.look(key);
      const { kept, value } = ended;
      if (!kept) return { kind: 'overtaken', begun: flight.begun, value };
      return value === null ? { kind: 'absent' } : { kind: 'value', value };
    }
    const waiting = this.#waiting.join(this.#leases.channelOf(key));
    try {
      await this.#answers.of(waiting.listening);
      // It may have ended before we listened.
      const look = await this.#looks.look(key);
      if (look.kind !== 'wait' || look.holder !== holder) return look;
      // The time is for a holder that has died.
      await within(Math.min(ms + 1, until - performance.now()), waiting.told);
      return await this.#looks.look(key);
    } finally {
      waiting.leave();
    }
  }
}

/** @throws RangeError when no record could name it */
function keyOf(key: string | Buffer): Buffer {
  const bytes = Buffer.from(key as string);
  if (isOwnKey(bytes)) throw new RangeError(OWN_KEY_REFUSED);
  if (bytes.length === 0 || bytes.length > MAX_KEY_BYTES) {
    throw new RangeError(`a key must have 1 to ${MAX_KEY_BYTES} bytes, and has ${bytes.length}`);
  }
  return bytes;
}
