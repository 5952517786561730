/** Which ioredis the writer works with: it builds on what clients and their commands look like. */
import { createRequire } from 'node:module';
import type { Cluster, Redis } from 'ioredis';

const MAJOR = 6;

/**
 * @throws Error in one line when the ioredis that is installed here is of another major version, or
 *   the application has made a client with an older one of its own
 */
export function assertIoredis(clients: readonly (Redis | Cluster)[]): void {
  const version = installed();
  const isOther = version !== null && Number.parseInt(version, 10) !== MAJOR;
  if (isOther)
    throw new Error(`the DualWriter needs ioredis ${MAJOR}, and ${version} is installed: npm install ioredis@${MAJOR}`);
  // Where both are installed, a client does not say its version. That command came with 6.
  if (clients.some((client) => !('himport' in client))) {
    throw new Error(`the DualWriter needs clients of ioredis ${MAJOR}: npm install ioredis@${MAJOR}`);
  }
}

/** @returns null where that can't be told */
function installed(): string | null {
  try {
    return (createRequire(import.meta.url)('ioredis/package.json') as { version: string }).version;
  } catch {
    return null;
  }
}
