/** Which server has a key: the one that there is, or in a Cluster the master of the key's slot. */
import type { Endpoint } from '../config.js';
import { ClusterNodes } from './cluster-nodes.js';
import { Connection, type ConnectionOptions } from './connection.js';
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
}
