/** A container whose user has no entry in /etc/passwd, as on OpenShift. */
import { hostname } from 'node:os';
import { expect, it, vi } from 'vitest';
import { whoRuns } from '../../src/cli/redrives.js';

vi.mock('node:os', async (original) => ({
  ...(await original<typeof import('node:os')>()),
  userInfo() {
    throw new Error('A system error occurred: uv_os_get_passwd returned ENOENT (no such file or directory)');
  },
}));

it('who redrives has a number where the user has no name', () => {
  expect(whoRuns()).toBe(`uid ${process.getuid!()}@${hostname()}`);
});
