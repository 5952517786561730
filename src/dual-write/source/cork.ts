/** Fewer system calls: each costs more than all else that is done for a command. */
import type { Cluster, Redis } from 'ioredis';

/**
 * What is sent in this turn of the event loop leaves in one piece behind it, and behind its
 * microtasks: those whose answers came together send again in these.
 */
export function corkForThisTurn(client: Redis | Cluster): void {
  // A Cluster has one for each of its nodes, and is left as it is.
  const socket = 'stream' in client ? client.stream : undefined;
  if (socket === undefined || socket.writableCorked > 0) return;
  socket.cork();
  process.nextTick(() => socket.uncork());
}
