/** The update `reconcileNow` as the command line asks for it. */
import type { Client } from '@temporalio/client';
import type { RetryRequest } from '../../workflows/messages.js';
import { startOptions } from '../bridge/start-options.js';
import type { Config } from '../config.js';
import { keyBytes } from '../events/failed-write-codec.js';
import { LinkAttribute } from '../temporal/link-attribute.js';
import { startReconcileNow } from '../temporal/reconcile-now.js';
import { whoIsMissing } from './answers.js';
import { report } from './context.js';
import { handleOf, type KeyWorkflow } from './key-workflow.js';

/** How long a worker has to take it. */
export const ACCEPTANCE_MS = 15_000;
const attribute = new LinkAttribute({ warn: report, info() {} });

/** Resolves when a worker has taken it. */
export function startUpdate(client: Client, config: Config, { link, key }: KeyWorkflow, request: RetryRequest) {
  const run = startOptions(link, keyBytes(key), config.temporal.taskQueue);
  return startReconcileNow(client, attribute, run, request);
}

/** Who does not answer. A workflow that nobody has begun yet is on the task queue of this one. */
export async function missing(client: Client, config: Config, key: KeyWorkflow): Promise<string> {
  const description = await client
    .withDeadline(Date.now() + ACCEPTANCE_MS, () => handleOf(client, key).describe())
    .catch(() => null);
  return whoIsMissing(description?.taskQueue ?? config.temporal.taskQueue, config);
}
