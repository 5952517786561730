/**
 * Batches that were ended by somebody before each of their keys was healed or had a workflow of its
 * own. Their records are committed, so only a comparison of both sides finds these keys: a gap.
 */
import { WorkflowClient } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import type { Logger } from 'pino';
import { BATCH_TYPE } from '../../../workflows/batch-messages.js';
import { gapWorkflowId } from '../../../workflows/gap-messages.js';
import { lookOut } from '../../patience/lookout.js';
import type { Gaps } from '../gaps.js';
import type { SignalClient } from '../runs/own-runs.js';
import { LAG_MS } from '../runs/unfinished-runs.js';

interface LostBatchesOptions {
  readonly client: SignalClient;
  readonly taskQueue: string;
  readonly gaps: Gaps;
  readonly logger: Logger;
}

const LOOK_EVERY_MS = 5_000;
const CALL_TIMEOUT_MS = 10_000;
const WORDS: Readonly<Record<string, string>> = { TERMINATED: 'was terminated', TIMED_OUT: 'timed out' };

interface Lost {
  readonly workflowId: string;
  readonly runId: string;
  readonly link: string;
  readonly how: string;
  /** By Temporal's clock, in ms since the epoch. */
  readonly closedAt: number;
}

/** Looks now and then, at first also for what happened while no bridge ran. */
export function watchLostBatches({ client, taskQueue, gaps, logger }: LostBatchesOptions): { stop(): Promise<void> } {
  // A stand-in for a client has no list.
  if (!(client instanceof WorkflowClient)) return { async stop() {} };
  // Of that type also in what is declared below.
  const temporal: WorkflowClient = client;
  const end = new AbortController();
  const { signal } = end;
  const told = new Set<string>();
  let newest = 0;

  async function list(): Promise<Lost[]> {
    const since = newest === 0 ? '' : ` AND CloseTime > "${new Date(newest - LAG_MS).toISOString()}"`;
    const query = `WorkflowType = "${BATCH_TYPE}" AND TaskQueue = "${taskQueue}" AND ExecutionStatus IN ("Terminated", "TimedOut", "Failed")`;
    const lost: Lost[] = [];
    for await (const { workflowId, runId, memo, status, closeTime } of temporal.list({
      query: query + since,
    })) {
      const how = WORDS[status.name] ?? 'failed';
      lost.push({ workflowId, runId, link: String(memo?.link), how, closedAt: closeTime?.getTime() ?? 0 });
      if (signal.aborted) break;
    }
    return lost;
  }

  /** Somebody has dealt with what was lost until then: it is not told of once more. */
  async function dealtWithAt(link: string): Promise<number> {
    try {
      const { closeTime } = await temporal.getHandle(gapWorkflowId(link)).describe();
      return closeTime?.getTime() ?? 0;
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return 0;
      throw error;
    }
  }

  async function look(): Promise<void> {
    const lost = await temporal.withDeadline(Date.now() + CALL_TIMEOUT_MS, list);
    for (const { workflowId, runId, link, how, closedAt } of lost) {
      if (signal.aborted) return;
      if (told.has(runId)) continue;
      if (closedAt > (await dealtWithAt(link))) {
        const message = `${workflowId} ${how} before each of its keys was healed; only a comparison of both sides finds which`;
        await gaps.open({ id: workflowId, cause: 'ended', records: null, message }, signal, [link]);
      }
      if (!signal.aborted) told.add(runId);
    }
    newest = Math.max(newest, ...lost.map(({ closedAt }) => closedAt));
  }

  const lookout = lookOut(LOOK_EVERY_MS, () =>
    // What is not listed now is listed the next time.
    look().catch((error: unknown) => logger.debug({ error: String(error) }, 'ended batches are not listed')),
  );
  lookout.now();
  return {
    async stop() {
      end.abort();
      await lookout.stop();
    },
  };
}
