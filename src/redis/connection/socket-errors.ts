import type { Redis } from 'ioredis';

/**
 * ioredis listens for the first error of a socket alone. A further one, as TLS can tell of behind
 * it, would end the process; it says nothing that the first did not.
 */
export function expectFurtherErrors(client: Redis): void {
  client.on('error', () => client.stream?.on('error', () => {}));
}
