/**
 * Connections to one database, so many at once. The client's own pool makes all of them with what
 * it was told at the start; these are made with what the files say by then.
 */
import type { ConnectionOptions } from 'mysql2';
import type { Connection } from 'mysql2/promise';
import { RedisFailure } from '../redis/index.js';

export class Pool {
  readonly #options: () => ConnectionOptions;
  readonly #idle = new Set<Connection>();
  readonly #gone = new WeakSet<Connection>();
  /** Who may have a connection, and has none yet. */
  readonly #waiting: (() => void)[] = [];
  /** How many more may have one. An idle one has no place: who comes next takes it. */
  #places: number;
  #isClosed = false;

  /** @param options asked for each connection; what it throws, `take` throws */
  constructor(size: number, options: () => ConnectionOptions) {
    this.#places = size;
    this.#options = options;
  }

  /** To be given back by `release` or `destroy`. Waits while all are in use. */
  async take(): Promise<Connection> {
    if (this.#places > 0) this.#places -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      if (this.#isClosed) throw new RedisFailure('CONNECTION', 'it was closed here');
      for (const connection of this.#idle) {
        this.#idle.delete(connection);
        return connection;
      }
      return await this.#make();
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  release(connection: Connection): void {
    if (this.#isClosed) connection.destroy();
    else if (!this.#gone.has(connection)) this.#idle.add(connection);
    this.#leave();
  }

  destroy(connection: Connection): void {
    connection.destroy();
    this.#leave();
  }

  /** What is in use is closed when it is given back. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#idle].map((connection) => connection.end().catch(() => {})));
    this.#idle.clear();
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#places += 1;
    else next();
  }

  /** The client is loaded only now: who has no database does not wait for it. */
  async #make(): Promise<Connection> {
    const { createConnection } = (await import('mysql2')).default;
    const connection = createConnection(this.#options());
    const promising = connection.promise();
    const forget = () => {
      this.#gone.add(promising);
      this.#idle.delete(promising);
    };
    // One that is ended while it is idle tells nobody else; unheard it would end the process.
    connection.on('error', forget);
    connection.on('end', forget);
    return new Promise((resolve, reject) => {
      connection.connect((error) => {
        if (error === null) return resolve(promising);
        connection.destroy();
        reject(error);
      });
    });
  }
}
