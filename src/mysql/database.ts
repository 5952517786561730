/** Questions to a MySQL or MariaDB: only ever read, and every column as the bytes that it sends. */
import { isIP } from 'node:net';
import type { FieldPacket, Pool, PoolConnection, PoolOptions, RowDataPacket } from 'mysql2/promise';
import type { MysqlSource } from '../config.js';
import { RedisFailure } from '../redis/index.js';
import { readPem } from '../secret-files.js';
import { failureOfDatabase } from './failure.js';

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
}

/**
 * The client can compare the name in a certificate with that of the host, and not with an address.
 * @throws SecretFileError
 */
function sslOf(tls: Exclude<MysqlSource['tls'], false>, host: string) {
  const { pem } = tls === true ? { pem: {} } : readPem(tls);
  return { ...pem, rejectUnauthorized: true, verifyIdentity: isIP(host) === 0 };
}

/** Which server answers and whether it takes writes. */
const ROLE = 'SELECT @@global.read_only, @@server_id, @@hostname, @@port';

export class Database {
  readonly place: string;
  /** How often another server than before has answered. */
  connections = 0;
  /** Which one has said its role last. */
  server = '';
  readonly #options: PoolOptions;
  #pool: Promise<Pool> | undefined;
  readonly #timeoutMs: number;
  /** Connections whose session is as we need it. */
  readonly #prepared = new WeakSet<object>();

  /** @throws SecretFileError */
  constructor({ url, tls, connections }: MysqlSource, { name, timeoutMs = 5_000 }: DatabaseOptions) {
    const { hostname, port, username, password, pathname } = new URL(url);
    const host = hostname.replace(/^\[(.*)\]$/, '$1');
    this.place = `${name} (${hostname}:${port || 3306})`;
    this.#timeoutMs = timeoutMs;
    this.#options = {
      host,
      port: Number(port || 3306),
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: decodeURIComponent(pathname.slice(1)),
      charset: 'utf8mb4',
      connectTimeout: timeoutMs,
      connectionLimit: connections,
      enableKeepAlive: true,
      rowsAsArray: true,
      // Nothing becomes a number or a date of JavaScript on its way.
      typeCast: (field) => field.buffer(),
      ...(tls !== false && { ssl: sslOf(tls, host) }),
    };
  }

  /**
   * Asks one question. Never rejects.
   * @param what for a person, as in `failureOfDatabase`
   */
  async query(sql: string, what: string): Promise<Table | RedisFailure> {
    let connection: PoolConnection | undefined;
    try {
      connection = await (await this.#open()).getConnection();
      await this.#prepare(connection);
      const [rows, columns] = await connection.query<RowDataPacket[]>({ sql, timeout: this.#timeoutMs });
      connection.release();
      return { columns, rows: rows as unknown as Table['rows'] };
    } catch (error) {
      const failure = failureOfDatabase(error, what);
      // What is late would answer the next question.
      if (failure.code === 'TIMEOUT' || failure.code === 'CONNECTION') connection?.destroy();
      else connection?.release();
      return failure;
    }
  }

  /**
   * Whether what was read just before is the present: a replica, or a server that was told to
   * refuse writes because another one took its place, may lag behind.
   */
  async role(): Promise<'primary' | RedisFailure> {
    const answer = await this.query(ROLE, 'to say its role');
    if (answer instanceof RedisFailure) return answer;
    const [readOnly, ...server] = answer.rows[0]!.map(String);
    if (this.server !== `${server}`) this.connections += 1;
    this.server = `${server}`;
    return readOnly === '0' || readOnly === 'OFF' ? 'primary' : new RedisFailure('NOTMASTER', 'it is read-only');
  }

  async close(): Promise<void> {
    await this.#open()
      .then((pool) => pool.end())
      .catch(() => {});
  }

  /** Loaded only now: who has no database does not wait for a client of one. */
  #open(): Promise<Pool> {
    this.#pool ??= import('mysql2/promise').then(({ createPool }) => createPool(this.#options));
    return this.#pool;
  }

  /**
   * Whatever the server's own settings are: each question sees what is committed by then, and
   * nothing else; times of type TIMESTAMP are said in UTC; nothing is ever written; a question that
   * nobody waits for any more ends there too. The latter two are comments for all but one kind of
   * server.
   */
  async #prepare(connection: PoolConnection): Promise<void> {
    const session = connection.connection;
    if (this.#prepared.has(session)) return;
    const limits =
      `/*!50708 , SESSION max_execution_time = ${this.#timeoutMs} */` +
      `/*M!100101 , SESSION max_statement_time = ${this.#timeoutMs / 1000} */`;
    const timeout = this.#timeoutMs;
    await connection.query({ sql: `SET SESSION autocommit = 1, SESSION time_zone = '+00:00' ${limits}`, timeout });
    await connection.query({ sql: 'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY', timeout });
    this.#prepared.add(session);
  }
}
