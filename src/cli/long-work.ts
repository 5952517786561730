/** Says how a workflow that takes long gets on, until it has ended. */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import type { QueryDefinition, Workflow, WorkflowResultType } from '@temporalio/common';
import type { Config } from '../config.js';
import { showProgress } from '../demo/progress.js';
import { causeOf } from '../temporal/cause-of.js';
import { failureText } from '../temporal/failure-text.js';
import { whoIsMissing } from './answers.js';
import { EXIT, report, VerbError } from './context.js';
import { printable } from './printable.js';

const ASKED_EVERY_MS = 500;
const ANSWER_MS = 10_000;
/** Whoever has not heard of a worker by then is told that there is none. */
const WORKER_MS = 20_000;

/** What is asked and shown of it. */
interface LongWork<Progress, Result> {
  readonly query: QueryDefinition<Progress>;
  describe(progress: Progress): string;
  /** The last line. */
  last(result: Result): string;
}

/** @throws VerbError when it failed, or nobody does it */
export async function toTheEnd<W extends Workflow, Progress>(
  client: Client,
  config: Config,
  handle: WorkflowHandle<W>,
  work: LongWork<Progress, WorkflowResultType<W>>,
): Promise<WorkflowResultType<W>> {
  const shown = { line: 'waiting for a worker' };
  // A server's words are in it, and a terminal is drawn on as they are.
  const bar = showProgress(() => printable(shown.line), report);
  const ended = new AbortController();
  // Each call leaves a listener on it, and a result is asked for every 20 s; Node warns past ten.
  setMaxListeners(0, ended.signal);
  const watching = watch(client, config, handle, { shown, work, signal: ended.signal });
  try {
    const result = await Promise.race([client.withAbortSignal(ended.signal, () => handle.result()), watching]);
    shown.line = work.last(result);
    return result;
  } catch (error) {
    throw failed(error, handle.workflowId);
  } finally {
    ended.abort();
    bar.stop();
  }
}

interface Watching<Progress> {
  readonly shown: { line: string };
  readonly work: Pick<LongWork<Progress, never>, 'query' | 'describe'>;
  readonly signal: AbortSignal;
}

/** Never resolves. @throws VerbError where no worker answers */
async function watch<Progress>(
  client: Client,
  config: Config,
  handle: WorkflowHandle,
  { shown, work, signal }: Watching<Progress>,
): Promise<never> {
  const begunAt = performance.now();
  for (let heard = false; ; ) {
    await sleep(ASKED_EVERY_MS, undefined, { signal }).catch(() => new Promise(() => {}));
    try {
      const now = await client.withDeadline(Date.now() + ANSWER_MS, () => handle.query(work.query));
      heard = true;
      shown.line = `${work.describe(now)}${await waitsFor(handle)}`;
    } catch {
      // Temporal itself may be away for a moment; whether it is shows in the result.
      if (heard || signal.aborted || performance.now() - begunAt < WORKER_MS) continue;
      heard = await isBegun(handle).catch(() => false);
      if (heard) continue;
      throw new VerbError(
        `${handle.workflowId} was started, but ${whoIsMissing(config.temporal.taskQueue, config)}; it begins then`,
      );
    }
  }
}

/** By a worker, which may be away now and come back. */
async function isBegun(handle: WorkflowHandle): Promise<boolean> {
  const { raw } = await handle.describe();
  return (raw.pendingActivities ?? []).length > 0;
}

/** Why its activity does not get on, where the last attempt failed. */
async function waitsFor(handle: WorkflowHandle): Promise<string> {
  const { raw } = await handle.describe();
  const failure = raw.pendingActivities?.find(({ lastFailure, nextAttemptScheduleTime }) =>
    Boolean(lastFailure && nextAttemptScheduleTime),
  )?.lastFailure;
  return failure ? `; tries again: ${await failureText(handle.client, failure)}` : '';
}

function failed(error: unknown, workflowId: string): unknown {
  if (!(error instanceof WorkflowFailedError)) return error;
  const { type, message } = causeOf(error);
  const what = type ? `${type}: ${message}` : `it ended before its end (${message})`;
  return new VerbError(`${workflowId}: ${what}`, EXIT.failure, type);
}
