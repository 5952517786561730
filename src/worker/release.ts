/** Keys that a redrive found equal, or made so: their workflows need not wait any longer. */
import type { WorkflowClient } from '@temporalio/client';
import type { Logger } from 'pino';
import { retry } from '../../workflows/messages.js';
import { foreignRunOf } from '../bridge/runs/own-runs.js';
import { workflowIdOf } from '../bridge/workflow-id.js';
import type { LinkConfig } from '../config.js';
import { errorText } from '../temporal/error-text.js';

interface ReleaseOptions {
  readonly client: WorkflowClient;
  readonly taskQueue: string;
  readonly links: readonly LinkConfig[];
  readonly logger: Logger;
}

/**
 * Tells the workflow of a key to look once more, if one of ours runs. Whatever stands in the way of
 * that, it looks by itself within `retryEvery`, so nothing is tried twice here.
 */
export function createRelease({ client, taskQueue, links, logger }: ReleaseOptions) {
  const byName = new Map(links.map((link) => [link.name, link]));
  return async (link: string, key: Buffer): Promise<void> => {
    const workflowId = workflowIdOf(byName.get(link) ?? { workflowIdPrefix: '' }, key);
    const handle = client.getHandle(workflowId);
    try {
      const run = await handle.describe();
      if (run.status.name === 'RUNNING' && foreignRunOf(run, taskQueue) === null) await handle.signal(retry);
    } catch (error) {
      logger.debug({ workflowId, error: errorText(error) }, 'was not told that its key is equal');
    }
  };
}
