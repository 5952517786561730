import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // More than two cores have: most tests wait for real servers, for failovers and timeouts of theirs.
    maxWorkers: 3,
    // Only nets: what takes seconds on an idle machine takes minutes on a busy one.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 240_000 } },
    reporters: ['default', './test/support/closing-line.ts'],
  },
});
