import { defineConfig } from 'vitest/config';

/** Benchmarks run one after the other, by `npm run bench:NAME`, and print ratios. */
export default defineConfig({
  test: {
    include: ['bench/*.bench.ts'],
    fileParallelism: false,
    testTimeout: 30 * 60_000,
    hookTimeout: 120_000,
    disableConsoleIntercept: true,
  },
});
