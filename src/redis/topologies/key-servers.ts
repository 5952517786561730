/** Which server has a key: the one that there is, or in a Cluster the master of the key's slot. */

import type { Command, Connection } from '../connection/connection.js';
import { explained } from '../connection/explain.js';
import { RedisFailure } from '../connection/failure.js';
import type { ClusterNodes } from './cluster-nodes.js';

/** What `KeyServers` asks of a topology. */
interface Servers {
  readonly place: string;
  serverOf(key: Buffer): Promise<Connection | RedisFailure>;
  /** Of a Cluster all that have slots. */
  masters(): Promise<readonly Connection[] | RedisFailure>;
  /** As in `ClusterNodes`. */
  importing(failure: RedisFailure): Connection | null;
  /** As in `ClusterNodes`. */
  heed(failure: RedisFailure): void;
  /** Any answer of any of them; a failure when there is none. */
  signOfLife(): Promise<unknown>;
  close(): void;
}

export function theOneServer(connection: Connection): Servers {
  return {
    place: connection.place,
    serverOf: async () => connection,
    masters: async () => [connection],
    importing: () => null,
    heed() {},
    signOfLife: async () => (await connection.send([['PING']]))[0],
    close: () => connection.close(),
  };
}

export function serversOfCluster(nodes: ClusterNodes): Servers {
  return {
    place: nodes.place,
    async serverOf(key) {
      const master = await nodes.masterOf(key);
      return master instanceof RedisFailure ? master : master.connection;
    },
    async masters() {
      const masters = await nodes.masters();
      return masters instanceof RedisFailure ? masters : masters.map(({ connection }) => connection);
    },
    importing: (failure) => nodes.importing(failure),
    heed: (failure) => nodes.heed(failure),
    signOfLife: () => nodes.masters(),
    close: () => nodes.close(),
  };
}

/** One of them, whatever keys it has. */
export interface OneServer {
  readonly place: string;
  /** @throws RedisFailure as `KeyServers.send` */
  send(command: Command): Promise<unknown>;
}

export class KeyServers {
  readonly place: string;
  readonly #servers: Servers;

  constructor(servers: Servers) {
    this.#servers = servers;
    this.place = servers.place;
  }

  /**
   * The connection to the server that has the key now, as far as is known. Others use it too:
   * nothing may block on it.
   */
  async serverOf(key: string | Buffer): Promise<Connection | RedisFailure> {
    return this.#servers.serverOf(typeof key === 'string' ? Buffer.from(key) : key);
  }

  /**
   * Each master by itself; the one server that there is.
   * @throws RedisFailure as `send`
   */
  async masters(): Promise<readonly OneServer[]> {
    const masters = await this.#servers.masters();
    if (masters instanceof RedisFailure) throw this.#refused(masters, this.place);
    return masters.map((server) => ({ place: server.place, send: (command) => this.#sendTo(server, command) }));
  }

  /**
   * Sends one command to the server that has the key.
   * @throws RedisFailure whose message says which server, what is wrong and what to do
   */
  async send(key: string | Buffer, command: Command): Promise<{ readonly reply: unknown; readonly place: string }> {
    const server = await this.serverOf(key);
    if (server instanceof RedisFailure) throw this.#refused(server, this.place);
    return { reply: await this.#sendTo(server, command), place: server.place };
  }

  /**
   * Where the key of a command is that was answered with this ASK; null where that is not said. See
   * `ClusterNodes`.
   */
  importing(failure: RedisFailure): Connection | null {
    return this.#servers.importing(failure);
  }

  /** To be told of failures: they can show that keys are elsewhere now, and are then looked for. */
  heed(failure: RedisFailure): void {
    this.#servers.heed(failure);
  }

  /**
   * Makes sure that the server, or one of the Cluster, answers.
   * @throws RedisFailure whose message says what to do
   */
  async check(): Promise<void> {
    const answer = await this.#servers.signOfLife();
    if (answer instanceof RedisFailure) throw explained(answer, this.place);
  }

  close(): void {
    this.#servers.close();
  }

  async #sendTo(server: Connection, command: Command): Promise<unknown> {
    const [reply] = await server.send([command]);
    if (reply instanceof RedisFailure) throw this.#refused(reply, server.place);
    return reply;
  }

  #refused(failure: RedisFailure, place: string): RedisFailure {
    this.heed(failure);
    return explained(failure, place);
  }
}
