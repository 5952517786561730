/**
 * A database as the source of a link: what the mappings say of a row stands where a Redis has a
 * value. Read in the order of the engine it is as good a source: each question sees what was
 * committed before it.
 */
import pMap from 'p-map';
import type { Mapping } from '../config.js';
import { within } from '../patience/within.js';
import {
  ALL_SLOTS,
  explained,
  type Health,
  type KeyServer,
  NO_EXPIRY,
  NO_TYPE,
  type ObservedState,
  type Reading,
  type ReadRequest,
  type RecipeReading,
  RedisFailure,
  type RedisPort,
} from '../redis/index.js';
import { compareCached, identityOf, recipeOf, sizeOf } from './cached-value.js';
import type { Database, Table } from './database.js';
import { type CachedValue, RowValue } from './row-value.js';

/** What is asked and held at once; values beyond these wait for the next call. */
const QUESTIONS_AT_ONCE = 16;
const BYTES_AT_ONCE = 4 * 1024 * 1024;
const NO_KEY = -2;

interface Limits {
  readonly bytes: number;
  readonly elements: number;
}

/** A mapping made ready. */
interface Ready {
  readonly mapping: Mapping;
  readonly value: RowValue;
  /** What is asked, for a person. */
  readonly what: string;
}

/** The row of a key, as its mapping finds it. */
interface Found extends Ready, Pick<Table, 'columns'> {
  /** undefined: there is none. */
  readonly row: Table['rows'][number] | undefined;
  readonly version: string | undefined;
}

/** What one call need not ask again: of all, or of a mapping. The keys behind it fail with it. */
type Silent = Map<Mapping | 'all', RedisFailure>;

/** What only a Redis has is asked of others; see the engine's `ReconcileOptions.cache`. */
const notRedis = async () => new RedisFailure('NOTREDIS', 'it is a database');
const noneRedis = async (requests: readonly unknown[]) => Promise.all(requests.map(notRedis));

export class MysqlSource implements RedisPort {
  readonly #database: Database;
  readonly #mappings: readonly Ready[];
  readonly #limits: Limits;

  /** @param limits a larger value is not compared */
  constructor(database: Database, mappings: readonly Mapping[], limits: Limits) {
    this.#database = database;
    this.#limits = limits;
    this.#mappings = mappings.map((mapping) => ({
      mapping,
      value: new RowValue(mapping),
      what: `the query of mapping ${mapping.pattern.text}`,
    }));
  }

  get place(): string {
    return this.#database.place;
  }

  get connections(): number {
    return this.#database.connections;
  }

  async shardsOf(keys: readonly Buffer[]): Promise<readonly string[]> {
    return keys.map(() => this.place);
  }

  /**
   * What is not cached needs no row, nor a database that answers: nothing can be stale. But its
   * version is for who fills the key next.
   */
  async readRecipes(requests: readonly ReadRequest[]): Promise<(RecipeReading | 'deferred' | RedisFailure)[]> {
    const needsNoRow = ({ key, known }: ReadRequest) => known.type === NO_TYPE && !this.#hasVersion(key);
    if (requests.every(needsNoRow)) {
      return requests.map(({ known }) => recipeReading(null, known, undefined));
    }
    let bytes = 0;
    return this.#each(requests, async (request, silent) => {
      const { key, known } = request;
      if (needsNoRow(request)) return recipeReading(null, known, undefined);
      if (bytes > BYTES_AT_ONCE) return 'deferred';
      const found = await this.#rowOf(key, silent);
      const value = known.type === NO_TYPE ? null : await this.#valueOf(found, silent);
      if (value !== null) bytes += sizeOf(value).bytes;
      return { ...recipeReading(value, known, found.mapping.ttl), version: found.version };
    });
  }

  /** Only how the key stands: a row has no DUMP. */
  async read(requests: readonly ReadRequest[]): Promise<(Reading | 'deferred' | RedisFailure)[]> {
    const readings = await this.readRecipes(requests);
    return readings.map((reading) =>
      reading === 'deferred' || reading instanceof RedisFailure ? reading : { ...reading, dump: reading.recipe },
    );
  }

  async inspect(keys: readonly Buffer[]): Promise<(ObservedState | RedisFailure)[]> {
    return this.#each(keys, async (key, silent) =>
      stateOf(await this.#valueOf(await this.#rowOf(key, silent), silent), 0),
    );
  }

  async health(): Promise<Health | RedisFailure> {
    const role = await this.#database.role();
    if (role instanceof RedisFailure && role.code !== 'NOTMASTER') return role;
    // Nobody has counted the rows.
    const answer = { isMaster: role === 'primary', keys: 0 };
    return { ...answer, slots: ALL_SLOTS, servers: [{ place: this.place, slots: ALL_SLOTS, answer }] };
  }

  /** Its keys are known by what is cached of them, and by the mappings. */
  async keyServers(): Promise<readonly KeyServer[] | RedisFailure> {
    const role = await this.#database.role();
    if (role instanceof RedisFailure) return role;
    return [{ place: this.place, server: this.#database.server, keys: 0, slots: ALL_SLOTS, moving: [] }];
  }

  readonly takes = (key: Buffer): boolean => this.#mappings.some(({ mapping }) => mapping.pattern.match(key) !== null);

  /** Also that each mapping fits the tables. Stops at the first that does not. */
  async check(): Promise<readonly RedisFailure[]> {
    const role = await this.#database.role();
    if (role instanceof RedisFailure) throw explained(role, this.place);
    for (const { mapping, value, what } of this.#mappings) {
      const table = await this.#database.query(mapping.statement.sqlForNone, what);
      if (table instanceof RedisFailure) throw explained(table, this.place);
      try {
        value.check(table.columns);
        await this.#inTime(mapping, value.load());
      } catch (error) {
        throw explained(error as RedisFailure, this.place);
      }
    }
    return [];
  }

  /** No Redis has this name. */
  async server(): Promise<string> {
    return this.place;
  }

  close(): Promise<void> {
    return this.#database.close();
  }

  // What nobody asks of a source, or of a database.

  readonly admit = notRedis;
  readonly outage = async () => null;
  readonly answers = notRedis;
  readonly repair = noneRedis;
  readonly rebuild = noneRedis;
  readonly rememberVersions = noneRedis;
  readonly inspectMembers = noneRedis;
  readonly readMembers = noneRedis;
  readonly repairMembers = noneRedis;
  readonly scanMembers = notRedis;
  readonly isInOnePiece = notRedis;
  readonly digestMembers = notRedis;
  readonly differingMembers = notRedis;
  readonly cardinality = notRedis;
  readonly watch = notRedis;
  readonly scanKeys = notRedis;
  readonly digestKeys = notRedis;
  readonly absentKeys = notRedis;
  readonly clock = notRedis;
  readonly replicas = this;

  /** One answer for each in order. */
  #each<Request, Answer>(
    requests: readonly Request[],
    answer: (request: Request, silent: Silent) => Promise<Answer>,
  ): Promise<(Answer | RedisFailure)[]> {
    const silent: Silent = new Map();
    const one = async (request: Request) => {
      try {
        return await answer(request, silent);
      } catch (error) {
        if (error instanceof RedisFailure) return error;
        throw error;
      }
    };
    // No more than there are connections: who waits for one has not heard who is silent.
    const concurrency = Math.min(QUESTIONS_AT_ONCE, this.#database.atOnce);
    return pMap(requests, one, { concurrency });
  }

  #hasVersion(key: Buffer): boolean {
    return this.#mappings.find(({ mapping }) => mapping.pattern.match(key) !== null)?.mapping.version !== undefined;
  }

  /** @throws RedisFailure */
  async #rowOf(key: Buffer, silent: Silent): Promise<Found> {
    for (const ready of this.#mappings) {
      const parts = ready.mapping.pattern.match(key);
      if (parts === null) continue;
      const { mapping, value, what } = ready;
      const known = silent.get('all') ?? silent.get(mapping);
      if (known !== undefined) throw known;
      const table = await this.#database.present(mapping.statement.sqlFor(parts), what);
      if (table instanceof RedisFailure) {
        if (table.code === 'CONNECTION' || table.code === 'NOTMASTER') silent.set('all', table);
        if (table.code !== 'TIMEOUT' && table.code !== 'ERR') throw table;
        throw await this.#ofOneKey(table, ready, silent);
      }
      const { columns, rows } = table;
      if (rows.length > 1) throw new RedisFailure('SEVERALROWS', `answers ${what} with several rows`);
      const [row] = rows;
      return { ...ready, columns, row, version: row && value.versionOf(columns, row) };
    }
    throw new RedisFailure('NOMAPPING', 'has no mapping that takes this key');
  }

  /**
   * Where a question fails, but the database answers others, it is to blame, and not the server.
   */
  async #ofOneKey(failure: RedisFailure, { mapping, what }: Ready, silent: Silent): Promise<RedisFailure> {
    const { timeoutMs } = this.#database;
    const isLate = failure.code === 'TIMEOUT';
    // Those behind it may take as long each, and are asked with the next call.
    if (isLate) silent.set(mapping, new RedisFailure('NOTASKED', `was late with ${what} for another key`));
    if ((await within(timeoutMs, this.#database.role())) !== 'primary') {
      if (isLate) silent.set(mapping, failure);
      return failure;
    }
    const how = isLate ? `within ${timeoutMs} ms` : `but with an error, ${failure.message}`;
    return new RedisFailure('QUERYFAILED', `does not answer ${what} for this key ${how}, while it answers others`);
  }

  /** @throws RedisFailure */
  async #valueOf({ mapping, columns, row, value, what }: Found, silent: Silent): Promise<CachedValue | null> {
    const made = row === undefined ? null : await this.#inTime(mapping, value.of(columns, row), silent);
    if (made !== null) this.#requireRoom(made, what);
    return made;
  }

  /** @throws RedisFailure where a function of the application does not answer */
  async #inTime<T>(mapping: Mapping, made: Promise<T>, silent?: Silent): Promise<T> {
    const { timeoutMs } = this.#database;
    const answer = await within(timeoutMs, made);
    if (answer !== 'late') return answer;
    const name = `mapping ${mapping.pattern.text}`;
    // The keys behind it would each take as long. They are not to blame, and come again.
    silent?.set(
      mapping,
      new RedisFailure('NOTASKED', `is not asked: ${name} has a function that does not answer for another key`),
    );
    const problem = `which has a function that does not answer within ${timeoutMs} ms`;
    throw new RedisFailure('MAPPING', `is asked by ${name}, ${problem}`);
  }

  #requireRoom(value: CachedValue, what: string): void {
    const { bytes, elements } = sizeOf(value);
    if (bytes <= this.#limits.bytes && elements <= this.#limits.elements) return;
    const size = `${bytes} bytes in ${elements} fields`;
    const most = `${this.#limits.bytes} bytes and ${this.#limits.elements} fields`;
    throw new RedisFailure('ROWTOOLARGE', `answers ${what} with ${size}; ${most} can be compared`);
  }
}

function recipeReading(value: CachedValue | null, known: ReadRequest['known'], ttl: number | undefined): RecipeReading {
  const { expiry = NO_EXPIRY, serverTimeMs = Date.now() } = known;
  const state = { ...stateOf(value, serverTimeMs), soonestFieldExpiry: NO_EXPIRY };
  const compared = value === null ? 'equal' : compareCached(value, known);
  if (value === null || compared === 'equal') return { ...state, content: null, recipe: null };
  // By the clock of the target, which lets it expire.
  const until = ttl === undefined ? Math.max(expiry, NO_EXPIRY) : Math.ceil(serverTimeMs + ttl);
  return { ...state, expiry: until, content: compared.content, recipe: recipeOf(value) };
}

function stateOf(value: CachedValue | null, serverTimeMs: number): ObservedState {
  if (value === null) return { type: NO_TYPE, digest: '', expiry: NO_KEY, serverTimeMs };
  return { type: value.type, digest: identityOf(value), expiry: NO_EXPIRY, serverTimeMs };
}
