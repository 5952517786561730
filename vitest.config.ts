import { configDefaults, defineConfig } from 'vitest/config';
import { IS_FULL } from './test/support/cases.js';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // What takes an hour is for a full run.
    exclude: IS_FULL ? configDefaults.exclude : [...configDefaults.exclude, 'test/full/**'],
    globalSetup: ['test/support/global-setup.ts'],
    // More than two cores have: most tests wait for real servers, for failovers and timeouts of theirs.
    // Three leave a third of the time of two cores unused.
    maxWorkers: 4,
    // Only nets: what takes seconds on an idle machine takes minutes on a busy one.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 240_000 } },
    reporters: ['default', './test/support/closing-line.ts'],
  },
});
