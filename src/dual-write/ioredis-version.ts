/** Which ioredis the writer works with: it builds on what clients and their commands look like. */
import { createRequire } from 'node:module';

const MAJOR = 6;

/** @throws Error in one line when the ioredis that is installed here is of another major version */
export function assertIoredis(): void {
  const version = installed();
  if (version === null || Number.parseInt(version, 10) === MAJOR) return;
  throw new Error(`the DualWriter needs ioredis ${MAJOR}, and ${version} is installed: npm install ioredis@${MAJOR}`);
}

/** @returns null where that can't be told */
function installed(): string | null {
  try {
    return (createRequire(import.meta.url)('ioredis/package.json') as { version: string }).version;
  } catch {
    return null;
  }
}
