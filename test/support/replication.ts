/** Replication that a test has to wait for. */
import type { RedisServer } from './redis.js';

/** Resolves when a replica has everything that the master has at this moment. */
export async function replicated({ client }: Pick<RedisServer, 'client'>): Promise<void> {
  // WAIT waits for what was there at the connection's last command.
  do await client.ping();
  while ((await client.wait(1, 1000)) === 0);
}
