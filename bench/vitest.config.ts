import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vitest/config';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/**
 * keymend as it is installed. Vitest would transform its sources, and each call from one file to
 * another one would cost more than it does for anybody else.
 */
const asItIsBuilt: Plugin = {
  name: 'as-it-is-built',
  enforce: 'pre',
  resolveId(source, importer) {
    if (importer === undefined || !source.startsWith('.')) return null;
    const path = relative(ROOT, resolve(dirname(importer), source));
    return /^(src|workflows|activities)\//.test(path) ? resolve(ROOT, 'dist', path) : null;
  },
};

/** Benchmarks run one after the other, by `npm run bench:NAME`, and print ratios. */
export default defineConfig({
  plugins: [asItIsBuilt],
  test: {
    include: ['bench/*.bench.ts'],
    fileParallelism: false,
    server: { deps: { external: [/\/dist\//] } },
    testTimeout: 30 * 60_000,
    hookTimeout: 120_000,
    disableConsoleIntercept: true,
  },
});
