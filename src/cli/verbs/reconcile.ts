/** `keymend reconcile KEY`, and of many keys. */
import { type Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { outageLine } from '../../../workflows/details.js';
import type { ReconcileKeyResult, RetryRequest } from '../../../workflows/messages.js';
import type { Config } from '../../config.js';
import { keyBytes } from '../../events/failed-write-codec.js';
import { connectSource } from '../../mysql/connect-source.js';
import { counted } from '../../plural.js';
import { connectRedis, NO_TYPE, RedisFailure } from '../../redis/index.js';
import { bulk } from '../bulk/bulk.js';
import { reconciling } from '../bulk/reconciling.js';
import { withClient } from '../configured.js';
import { EXIT, type GlobalOptions, print, report, VerbError } from '../context.js';
import { type KeyWorkflow, keyToReconcile } from '../key-workflow.js';
import { ownRun } from '../own-run.js';
import { ACCEPTANCE_MS, missing, startUpdate } from '../reconcile-update.js';
import type { BulkFlags } from '../usage/bulk.js';
import { type KeyReport, keyReport } from './status.js';

const LOOK_MS = 5_000;
const TOLD_AFTER_MS = 4_000;
const TOLD_EVERY_MS = 10_000;
/** The retries of a link may take minutes; a person can also interrupt and look at `status`. */
const PATIENCE_MS = 10 * 60_000;

export interface ReconcileFlags extends BulkFlags {
  readonly allowDelete?: true;
}

/** One key, or many. */
export async function reconcile(text: string | undefined, flags: ReconcileFlags, global: GlobalOptions): Promise<void> {
  if (flags.allowDelete && text === undefined)
    throw new VerbError('--allow-delete vouches for one KEY, which somebody has looked at', EXIT.usage);
  await withClient(global, async (client, config) => {
    await bulk({
      ...{ global, client, config, text, flags },
      name: 'reconcile',
      verb: 'reconcile',
      unasked: false,
      one: (text) => reconcileOne(global, client, config, text, flags),
      keyOf: keyToReconcile,
      tell: reconciling(client, config),
      said: (keys) => ({ field: 'told', line: `told ${counted(keys, 'key')} to reconcile`, healed: 'equal now' }),
    });
  });
}

async function reconcileOne(
  global: GlobalOptions,
  client: Client,
  config: Config,
  text: string,
  { allowDelete, ...options }: ReconcileFlags,
): Promise<void> {
  const key = keyToReconcile(config, text, options);
  await ownRun(client, config, key);
  const result = await untilReconciled(client, config, key, { allowDelete });
  const nowhere = result.outcome === 'equal' && (await isOnNeitherSide(key));
  const answer = { ...key.key, link: key.link.name, ...result, ...(nowhere && { onNeitherSide: true }) };
  const tries = `after ${counted(result.attempts, 'attempt')}`;
  const where = nowhere ? ': the key is on neither side' : '';
  print(global, answer, () => [`${result.outcome} ${tries}${where}`]);
  if (result.outcome === 'skipped')
    throw new VerbError('somebody has given up on the key meanwhile: nothing says that both sides are equal');
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

/**
 * Such a key is equal, and most likely not the one that was meant. False where it can't be told.
 */
async function isOnNeitherSide({ link, key }: KeyWorkflow): Promise<boolean> {
  const ports = [
    connectSource(link, { name: 'source', commandTimeoutMs: LOOK_MS }),
    connectRedis(link.target, { name: 'target', commandTimeoutMs: LOOK_MS }),
  ];
  try {
    const states = await Promise.all(ports.map((port) => port.inspect([keyBytes(key)])));
    return states.flat().every((state) => !(state instanceof RedisFailure) && state.type === NO_TYPE);
  } finally {
    await Promise.all(ports.map((port) => port.close()));
  }
}
