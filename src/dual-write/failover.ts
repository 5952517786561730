/** What ioredis does not do by itself about a failover that its `failoverDetector` tells of. */
import type { Redis } from 'ioredis';

/**
 * ioredis ends a client for good when it hears of a failover just while it asks for the master.
 * This connects such a client anew. Where disconnect() ended it, ioredis tells of no error.
 * @param isClosed whether nobody wants the client any more
 */
export function connectAfterDetectedFailover(client: Redis, isClosed: () => boolean = () => false): void {
  client.on('error', (error: Error) => {
    if (error.message !== 'Connection is closed.') return;
    // It ends only when its listeners have been told.
    setImmediate(() => {
      if (client.status === 'end' && !isClosed()) client.connect().catch(() => {});
    });
  });
}
