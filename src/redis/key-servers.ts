/** Which server has a key: the one that there is, or in a Cluster the master of the key's slot. */
import type { Endpoint } from '../config.js';
import { ClusterNodes } from './cluster-nodes.js';
import { type Command, Connection, type ConnectionOptions } from './connection.js';
import { explained } from './explain.js';
import { RedisFailure } from './failure.js';

/** Connects with the first command. */
export class KeyServers {
  readonly place: string;
  readonly #servers: Connection | ClusterNodes;

  constructor(endpoint: Endpoint, options: ConnectionOptions) {
    this.#servers =
      'cluster' in endpoint ? new ClusterNodes(endpoint.cluster, options) : new Connection(endpoint, options);
    this.place = this.#servers.place;
  }

  /** The connection to the server that has the key now, as far as is known. Others use it too: nothing may block on it. */
  async serverOf(key: string): Promise<Connection | RedisFailure> {
    if (this.#servers instanceof Connection) return this.#servers;
    const master = await this.#servers.masterOf(Buffer.from(key));
    return master instanceof RedisFailure ? master : master.connection;
  }

  /**
   * Sends one command to the server that has the key.
   * @throws RedisFailure whose message says which server, what is wrong and what to do
   */
  async send(key: string, command: Command): Promise<{ readonly reply: unknown; readonly place: string }> {
    const server = await this.serverOf(key);
    if (server instanceof RedisFailure) throw this.#refused(server, this.place);
    const [reply] = await server.send([command]);
    if (reply instanceof RedisFailure) throw this.#refused(reply, server.place);
    return { reply, place: server.place };
  }

  /** Where the key of a command is that was answered with this ASK; null where that is not said. See `ClusterNodes`. */
  importing(failure: RedisFailure): Connection | null {
    return this.#servers instanceof ClusterNodes ? this.#servers.importing(failure) : null;
  }

  /** To be told of failures: they can show that keys are elsewhere now, and are then looked for. */
  heed(failure: RedisFailure): void {
    if (this.#servers instanceof ClusterNodes) this.#servers.heed(failure);
  }

  /** Makes sure that the server, or one of the Cluster, answers. @throws RedisFailure whose message says what to do */
  async check(): Promise<void> {
    const servers = this.#servers;
    const [answer] = servers instanceof Connection ? await servers.send([['PING']]) : [await servers.masters()];
    if (answer instanceof RedisFailure) throw explained(answer, this.place);
  }

  close(): void {
    this.#servers.close();
  }

  #refused(failure: RedisFailure, place: string): RedisFailure {
    this.heed(failure);
    return explained(failure, place);
  }
}
