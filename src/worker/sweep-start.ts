/** A sweep that its schedule asks for. */
import type { WorkflowClient } from '@temporalio/client';
import type { Logger } from 'pino';
import { SWEEP_TYPE, type SweepOptions, sweepWorkflowId } from '../../workflows/sweep-messages.js';
import { foreignRunOf } from '../bridge/runs/own-runs.js';
import type { LinkConfig } from '../config.js';
import type { LinkAttribute } from '../temporal/link-attribute.js';
import { startSweep } from '../temporal/sweeps.js';

interface SweepStartOptions {
  readonly client: WorkflowClient;
  readonly taskQueue: string;
  readonly attribute: LinkAttribute;
  readonly links: readonly LinkConfig[];
  readonly logger: Logger;
}

/**
 * @returns starts a sweep of a link, null when one is under way; throws, after a line in the log,
 *   where what is under way is not a sweep of ours: the schedule's workflow tries again
 */
export function createSweepStart(options: SweepStartOptions) {
  const { client, taskQueue, logger } = options;
  const byName = new Map(options.links.map((link) => [link.name, link]));
  return async (link: string, asked: SweepOptions): Promise<object | null> => {
    const started = await startSweep(options, byName.get(link)!, asked);
    if (started !== null) return started;
    const workflowId = sweepWorkflowId(link);
    const foreign = foreignRunOf(await client.getHandle(workflowId).describe(), taskQueue, SWEEP_TYPE);
    if (foreign !== null) {
      const message =
        `${workflowId} is a workflow of type ${foreign.type} on task queue ${foreign.taskQueue}, not a sweep of this keymend ` +
        `on ${taskQueue}: link ${link} is not compared. Terminate it, or give keymend a Temporal namespace of its own`;
      logger.error({ link }, message);
      throw new Error(message);
    }
    // One that somebody has paused and forgotten would keep back all others without a word.
    logger.warn({ link }, `a sweep of link ${link} is under way: the one of its schedule is left out`);
    return null;
  };
}
