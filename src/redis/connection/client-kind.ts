/** The two kinds of ioredis clients. */
import type { Cluster, Redis } from 'ioredis';

/** By its own word, not by its class: an application may bring its own copy of ioredis. */
export function isCluster(client: Redis | Cluster): client is Cluster {
  return client.isCluster;
}
