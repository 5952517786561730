/** A Temporal whose clock runs on while a test waits. */
import { type ClientOptionsForTestEnv, TestWorkflowEnvironment } from '@temporalio/testing';

/** The SDK gives a start 5 s, which may be too short where the machine is busy. */
const STARTS = 10;
const TOO_SLOW = /did not start within/;

/**
 * @param path of the server's program
 * @param client the options of its client
 */
export async function startTimeSkipping(
  path: string,
  client: ClientOptionsForTestEnv = {},
): Promise<TestWorkflowEnvironment> {
  const server = { executable: { type: 'existing-path', path } } as const;
  for (let start = 1; ; start++) {
    try {
      return await TestWorkflowEnvironment.createTimeSkipping({ server, client });
    } catch (error) {
      if (start === STARTS || !TOO_SLOW.test(String(error))) throw error;
    }
  }
}
