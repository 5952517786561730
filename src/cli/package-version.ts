import { createRequire } from 'node:module';

/**
 * The version in the package.json that this code belongs to, whether it runs from source or built.
 */
export function packageVersion(): string {
  // By its own name: the way from this file differs between source and dist.
  const { version } = createRequire(import.meta.url)('keymend/package.json') as { version: string };
  return version;
}
