/**
 * What the dual write has to know of a client, whatever stands behind it. Nothing else in this room
 * tells one server from a Cluster: a further topology is one more function here.
 */
import type { Cluster, Redis, RedisOptions } from 'ioredis';
import { isCluster } from '../redis/connection/client-kind.js';
import { createClusterTarget, OWN_CONNECTION } from './target/cluster-target.js';
import { createServerTarget } from './target/server-target.js';
import type { Target, TargetOptions } from './target/target.js';

export interface Topology {
  readonly client: Redis | Cluster;
  /**
   * The client again, if one server at a time carries out all that is sent, in its order.
   * Transactional mode needs that. Undefined: several servers do.
   */
  readonly server: Redis | undefined;
  /**
   * The options of each connection to a server; those that the writer opens itself to mirror writes
   * have them too.
   */
  readonly connection: RedisOptions;
  /** What the client itself puts in front of keys. */
  readonly keyPrefix: string | undefined;
  readonly database: number;
  /**
   * Where it is, if the options say so for good. Undefined: others tell, Sentinels or the nodes of
   * a Cluster.
   */
  readonly place: string | undefined;
  /** How an application creates such a client as a target. */
  readonly asTarget: string;
  /** A client for each server that is known now. */
  servers(): readonly Redis[];
  /** Mirrors writes there. The client must not be used by anything else. */
  createTarget(options: TargetOptions): Target;
}

export function topologyOf(client: Redis | Cluster): Topology {
  return isCluster(client) ? topologyOfCluster(client) : topologyOfServer(client);
}

/** One server, or the master that Sentinels name. */
function topologyOfServer(client: Redis): Topology {
  const { sentinels, host, port, path, db, keyPrefix } = client.options;
  const servers = [client];
  return {
    client,
    server: client,
    connection: client.options,
    keyPrefix,
    database: db ?? 0,
    place: sentinels ? undefined : JSON.stringify([path ?? [host, port], db]),
    asTarget: 'new Redis(url, mirrorOptions())',
    servers: () => servers,
    createTarget: (options) => createServerTarget(client, options),
  };
}

function topologyOfCluster(client: Cluster): Topology {
  const { redisOptions, keyPrefix } = client.options;
  // The Cluster sets these otherwise for its own connections.
  const { enableOfflineQueue, retryStrategy } = OWN_CONNECTION;
  return {
    client,
    server: undefined,
    connection: { ...redisOptions, enableOfflineQueue, retryStrategy },
    keyPrefix,
    database: 0,
    place: undefined,
    asTarget: 'new Cluster(nodes, mirrorClusterOptions())',
    servers: () => client.nodes('all'),
    createTarget: (options) => createClusterTarget(client, options),
  };
}
