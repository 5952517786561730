/** Questions to a MySQL or MariaDB: only ever read, and every column as the bytes that it sends. */
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'mysql2';
import type { Connection, FieldPacket, RowDataPacket } from 'mysql2/promise';
import type { MysqlSource } from '../config.js';
import { OF_FILES, RedisFailure } from '../redis/index.js';
import { readPem, readSecret, SecretFileError } from '../secret-files.js';
import { failureOfDatabase } from './failure.js';
import { Pool } from './pool.js';

export interface Table {
  readonly columns: readonly FieldPacket[];
  /** The text of each column as the server writes it, binary as it is; null is NULL. */
  readonly rows: readonly (readonly (Buffer | null)[])[];
}

interface DatabaseOptions {
  /** What to call it in messages. */
  readonly name: string;
  /** For one question, also for connecting. Default 5,000. */
  readonly timeoutMs?: number | undefined;
  /** More are not sent to us. Default: all. */
  readonly mostRows?: number;
}

/**
 * The client can compare the name in a certificate with that of the host, and not with an address.
 * @throws SecretFileError
 */
function sslOf(tls: Exclude<MysqlSource['tls'], false>, host: string) {
  const { pem } = tls === true ? { pem: {} } : readPem(tls);
  return { ...pem, rejectUnauthorized: true, verifyIdentity: isIP(host) === 0 };
}

/**
 * What stands in files, as it is now.
 * @throws RedisFailure
 */
function fromFiles({ tls, passwordFile }: MysqlSource, host: string): ConnectionOptions {
  try {
    return {
      ...(passwordFile !== undefined && { password: readSecret(passwordFile) }),
      ...(tls !== false && { ssl: sslOf(tls, host) }),
    };
  } catch (error) {
    if (!(error instanceof SecretFileError)) throw error;
    throw new RedisFailure('CONNECTION', error.message, { cause: error, errno: OF_FILES });
  }
}

/**
 * Which server answers and whether it takes writes; a reader of Aurora says that by InnoDB alone.
 */
const ROLE = 'SELECT @@global.read_only, @@global.innodb_read_only, @@server_id, @@hostname, @@port';

const ENDS_CONNECTION: ReadonlySet<string> = new Set(['TIMEOUT', 'CONNECTION', 'NOTMASTER']);

export class Database {
  readonly place: string;
  /** For one question. */
  readonly timeoutMs: number;
  /** How often another server than before has answered. */
  connections = 0;
  /** Which one has said its role last. */
  server = '';
  /** So many questions can be under way. */
  readonly atOnce: number;
  readonly #mostRows: number | 'DEFAULT';
  readonly #pool: Pool;
  /** The age of each connection whose session is as we need it. */
  readonly #ages = new WeakMap<object, number>();
  /** Grows when a connection leads to a server that is the primary no more: none older is used. */
  #age = 0;

  constructor(source: MysqlSource, { name, timeoutMs = 5_000, mostRows }: DatabaseOptions) {
    const { url, connections } = source;
    const { hostname, port, username, password, pathname } = new URL(url);
    const host = hostname.replace(/^\[(.*)\]$/, '$1');
    this.place = `${name} (${hostname}:${port || 3306})`;
    this.timeoutMs = timeoutMs;
    this.#mostRows = mostRows ?? 'DEFAULT';
    this.atOnce = connections;
    const options: ConnectionOptions = {
      host,
      port: Number(port || 3306),
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: decodeURIComponent(pathname.slice(1)),
      charset: 'utf8mb4',
      connectTimeout: timeoutMs,
      enableKeepAlive: true,
      rowsAsArray: true,
      // Nothing becomes a number or a date of JavaScript on its way.
      typeCast: (field) => field.buffer(),
    };
    this.#pool = new Pool(connections, () => ({ ...options, ...fromFiles(source, host) }));
  }

  /**
   * Asks one question. Never rejects.
   * @param what for a person, as in `failureOfDatabase`
   */
  query(sql: string, what: string): Promise<Table | RedisFailure> {
    return this.#on(what, (connection) => this.#ask(connection, sql));
  }

  /**
   * Asks for what is present: a replica, or a server that was told to refuse writes because another
   * one took its place, may lag behind. It says its role behind the answer, so that what made a row
   * old before then shows, and on the same connection, for another one may lead to another server.
   * Never rejects.
   */
  present(sql: string, what: string): Promise<Table | RedisFailure> {
    return this.#on(what, async (connection) => {
      const table = await this.#ask(connection, sql);
      await this.#requirePrimary(connection);
      return table;
    });
  }

  /** Of the server that new questions go to. */
  role(): Promise<'primary' | RedisFailure> {
    return this.#on('to say its role', async (connection) => {
      await this.#requirePrimary(connection);
      return 'primary' as const;
    });
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  /** Does something on a connection of its own. */
  async #on<T>(what: string, work: (connection: Connection) => Promise<T>): Promise<T | RedisFailure> {
    let connection: Connection | undefined;
    try {
      connection = await this.#connect();
      const done = await work(connection);
      this.#pool.release(connection);
      return done;
    } catch (error) {
      const failure = failureOfDatabase(error, what);
      if (failure.code === 'NOTMASTER' && connection && this.#ages.get(connection) === this.#age) {
        this.#age += 1;
      }
      // What is late would answer the next question; who is the primary no more is left.
      if (connection && ENDS_CONNECTION.has(failure.code)) this.#pool.destroy(connection);
      else if (connection) this.#pool.release(connection);
      return failure;
    }
  }

  async #connect(): Promise<Connection> {
    for (;;) {
      // As of before: one that comes meanwhile may lead to the server that was left meanwhile.
      const age = this.#age;
      const connection = await this.#pool.take();
      const known = this.#ages.get(connection);
      if (known === this.#age) return connection;
      if (known !== undefined) {
        this.#pool.destroy(connection);
        continue;
      }
      try {
        await this.#prepare(connection);
      } catch (error) {
        this.#pool.destroy(connection);
        throw error;
      }
      this.#ages.set(connection, age);
      return connection;
    }
  }

  async #ask(connection: Connection, sql: string): Promise<Table> {
    const [rows, columns] = await connection.query<RowDataPacket[]>({ sql, timeout: this.timeoutMs });
    return { columns, rows: rows as unknown as Table['rows'] };
  }

  /** @throws RedisFailure */
  async #requirePrimary(connection: Connection): Promise<void> {
    const { rows } = await this.#ask(connection, ROLE);
    const [readOnly, innodbReadOnly, ...server] = rows[0]!.map(String);
    if (this.server !== `${server}`) this.connections += 1;
    this.server = `${server}`;
    if (![readOnly, innodbReadOnly].every((is) => is === '0' || is === 'OFF'))
      throw new RedisFailure('NOTMASTER', 'it is read-only');
  }

  /**
   * Whatever the server's own settings are: texts come as UTF-8, also where `init_connect` or the
   * server has chosen otherwise for the connection; each question sees what is committed by then,
   * and nothing else; times of type TIMESTAMP are said in UTC; nothing is ever written; a question
   * that nobody waits for any more ends there too. The latter two are comments for all but one kind
   * of server.
   */
  async #prepare(connection: Connection): Promise<void> {
    const limits =
      `/*!50708 , SESSION max_execution_time = ${this.timeoutMs} */` +
      `/*M!100101 , SESSION max_statement_time = ${this.timeoutMs / 1000} */`;
    const timeout = this.timeoutMs;
    const rows = `SESSION sql_select_limit = ${this.#mostRows}`;
    const session = `SESSION autocommit = 1, SESSION time_zone = '+00:00', ${rows} ${limits}`;
    await connection.query({ sql: 'SET NAMES utf8mb4', timeout });
    await connection.query({ sql: `SET ${session}`, timeout });
    await connection.query({ sql: 'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY', timeout });
  }
}
