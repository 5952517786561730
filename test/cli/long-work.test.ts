/** A verb that follows what takes long, while no worker answers; with stand-ins for Temporal. */
import type { Client, WorkflowHandle } from '@temporalio/client';
import { afterEach, expect, test, vi } from 'vitest';
import { toTheEnd } from '../../src/cli/long-work.js';
import type { Config } from '../../src/config.js';
import { progress } from '../../workflows/redrive-messages.js';

afterEach(() => {
  vi.restoreAllMocks();
});

/** @param pendingActivities of a workflow that nobody answers for, and which ends at last */
function following(pendingActivities: object[]): Promise<string> {
  // Each look at the clock is half a minute later.
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => (now += 30_000));
  let asked = 0;
  let end = (_result: string) => {};
  const result = new Promise<string>((resolve) => {
    end = resolve;
  });
  const handle = {
    workflowId: 'keymend/redrive/1',
    result: () => result,
    describe: async () => ({ raw: { pendingActivities } }),
    async query() {
      asked += 1;
      if (asked === 3) end('done');
      throw new Error('nobody answers');
    },
  };
  const client = {
    withDeadline: (_: unknown, ask: () => unknown) => ask(),
    withAbortSignal: (signal: AbortSignal, ask: () => Promise<string>) =>
      Promise.race([ask(), new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))]),
  };
  const config = { temporal: { taskQueue: 'q' } } as Config;
  return toTheEnd(client as never as Client, config, handle as never as WorkflowHandle<() => Promise<string>>, {
    query: progress,
    describe: () => '',
    last: String,
  });
}

test('what a worker has begun is waited for, although the worker is away', async () => {
  expect(await following([{ activityId: '1' }])).toBe('done');
});

test('what no worker has begun is not waited for', async () => {
  await expect(following([])).rejects.toThrow('was started, but no worker answers on its task queue q');
});
