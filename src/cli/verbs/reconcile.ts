/** `keymend reconcile KEY` */
import {
  type Client,
  WithStartWorkflowOperation,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { outageLine } from '../../../workflows/details.js';
import {
  type ReconcileKeyResult,
  type RetryRequest,
  reconcileNow,
  WORKFLOW_TYPE,
} from '../../../workflows/messages.js';
import type { reconcileKey } from '../../../workflows/reconcile-key.js';
import { startOptions } from '../../bridge/start-options.js';
import type { Config } from '../../config.js';
import { keyBytes } from '../../events/failed-write-codec.js';
import { counted } from '../../plural.js';
import { connectRedis, NO_TYPE, RedisFailure } from '../../redis/index.js';
import { LinkAttribute } from '../../temporal/link-attribute.js';
import { whoIsMissing } from '../answers.js';
import { withClient } from '../configured.js';
import { EXIT, type GlobalOptions, print, report, VerbError } from '../context.js';
import { handleOf, type KeyWorkflow, keyToReconcile } from '../key-workflow.js';
import { ownRun } from '../own-run.js';
import type { KeyOptions } from '../usage/options.js';
import { type KeyReport, keyReport } from './status.js';

const ACCEPTANCE_MS = 15_000;
const LOOK_MS = 5_000;
const TOLD_AFTER_MS = 4_000;
const TOLD_EVERY_MS = 10_000;
/**
 * How long a person's word about a delete holds until a worker hears it; more than the acceptance,
 * for clocks that differ.
 */
const VOUCHED_MS = 60_000;
/** The retries of a link may take minutes; a person can also interrupt and look at `status`. */
const PATIENCE_MS = 10 * 60_000;

export async function reconcile(
  text: string,
  { allowDelete, ...options }: KeyOptions & RetryRequest,
  global: GlobalOptions,
): Promise<void> {
  await withClient(global, async (client, config) => {
    const key = keyToReconcile(config, text, options);
    await ownRun(client, config, key);
    const result = await untilReconciled(client, config, key, { allowDelete });
    const nowhere = result.outcome === 'equal' && (await isOnNeitherSide(key));
    const answer = { ...key.key, link: key.link.name, ...result, ...(nowhere && { onNeitherSide: true }) };
    const tries = `after ${counted(result.attempts, 'attempt')}`;
    const where = nowhere ? ': the key is on neither side' : '';
    print(global, answer, () => [`${result.outcome} ${tries}${where}`]);
  });
}

async function untilReconciled(
  client: Client,
  config: Config,
  key: KeyWorkflow,
  request: RetryRequest,
): Promise<ReconcileKeyResult> {
  for (;;) {
    // Two steps, because they fail for different reasons: without a worker nobody accepts the
    // update.
    const update = await client
      .withDeadline(Date.now() + ACCEPTANCE_MS, () => startUpdate(client, config, key, request))
      .catch(async (error: unknown) => {
        if (!(error instanceof WorkflowUpdateRPCTimeoutOrCancelledError)) throw error;
        const noMore = request.allowDelete ? ', but a delete is not vouched for any more' : '';
        throw new VerbError(
          `workflow ${key.workflowId} was told, but ${await missing(client, config, key)}. The key is reconciled then${noMore}`,
        );
      });
    try {
      return await telling(client, config, key, () =>
        client.withDeadline(Date.now() + PATIENCE_MS, () => update.result()),
      );
    } catch (error) {
      if (error instanceof WorkflowUpdateFailedError && error.cause instanceof ApplicationFailure) {
        // The run that was asked has made room for a new one; that one is asked instead.
        if (error.cause.type === 'ContinuedAsNew') continue;
        const { type, message } = error.cause;
        const line = `${type}: ${message}; see \`keymend status KEY\` for what comes next`;
        throw new VerbError(line, EXIT.failure, type ?? undefined);
      }
      if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) {
        throw new VerbError(`workflow ${key.workflowId} is still at it; see \`keymend status KEY\` for how far it is`);
      }
      throw error;
    }
  }
}

/**
 * Says on stderr what goes on while the answer takes its time: the first line after some seconds,
 * then one every ten.
 */
async function telling<T>(client: Client, config: Config, key: KeyWorkflow, answer: () => Promise<T>): Promise<T> {
  let isOver = false;
  const tell = async () => {
    // Whoever can't be asked now is asked again with the next line.
    const line = await keyReport(client, config, key).then(describeWaiting, () => null);
    if (line !== null && !isOver) report(line);
    if (!isOver) timer = setTimeout(tell, TOLD_EVERY_MS);
  };
  let timer = setTimeout(tell, TOLD_AFTER_MS);
  try {
    return await answer();
  } finally {
    isOver = true;
    clearTimeout(timer);
  }
}

function describeWaiting({ state, attempts, lastError, nextRetry, outage }: KeyReport): string {
  const next = nextRetry === null ? '' : `, next try at ${nextRetry}`;
  const error = lastError === null ? '' : `: ${lastError.type}: ${lastError.message}`;
  const waitsFor = outage === null ? '' : ` for ${outageLine(outage)}`;
  return `${state}${waitsFor}, ${counted(attempts ?? 0, 'attempt')} so far${next}${error}`;
}

/** Who does not answer. A workflow that nobody has begun yet is on the task queue of this one. */
async function missing(client: Client, config: Config, key: KeyWorkflow): Promise<string> {
  const description = await client
    .withDeadline(Date.now() + ACCEPTANCE_MS, () => handleOf(client, key).describe())
    .catch(() => null);
  return whoIsMissing(description?.taskQueue ?? config.temporal.taskQueue, config);
}

/**
 * Such a key is equal, and most likely not the one that was meant. False where it can't be told.
 */
async function isOnNeitherSide({ link, key }: KeyWorkflow): Promise<boolean> {
  const ports = (['source', 'target'] as const).map((side) =>
    connectRedis(link[side], { name: side, commandTimeoutMs: LOOK_MS }),
  );
  try {
    const states = await Promise.all(ports.map((port) => port.inspect([keyBytes(key)])));
    return states.flat().every((state) => !(state instanceof RedisFailure) && state.type === NO_TYPE);
  } finally {
    await Promise.all(ports.map((port) => port.close()));
  }
}

function startUpdate(client: Client, config: Config, { link, key }: KeyWorkflow, request: RetryRequest) {
  return new LinkAttribute({ warn: report, info() {} }).starting(link.name, (attributes) => {
    const startWorkflowOperation = new WithStartWorkflowOperation<typeof reconcileKey>(WORKFLOW_TYPE, {
      ...startOptions(link, keyBytes(key), config.temporal.taskQueue),
      ...attributes,
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
    return client.workflow.startUpdateWithStart(reconcileNow, {
      args: [request.allowDelete ? { ...request, before: new Date(Date.now() + VOUCHED_MS).toISOString() } : request],
      waitForStage: 'ACCEPTED',
      startWorkflowOperation,
    });
  });
}
