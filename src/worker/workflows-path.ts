import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The file that exports the workflows, for the bundler of the SDK: TypeScript beside TypeScript,
 * JavaScript once built.
 */
export const WORKFLOWS_PATH = fileURLToPath(
  new URL(`../../workflows/index${extname(import.meta.url)}`, import.meta.url),
);
