/**
 * Followers of runs that did not finish, told of a part of their key by a bridge that has ended
 * since: it did not know yet of the run before, for the list lags, and nobody else remembers what
 * it told. So of each such run is asked who follows it, and of a follower that came within the lag
 * what it was told. An everyday key costs nothing. docs/decisions/0003-workflow-ids.md
 */
import { WorkflowClient } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import { decodeArrayFromPayloads } from '@temporalio/common/lib/internal-non-workflow/index.js';
import pMap from 'p-map';
import type { Logger } from 'pino';
import { type FailedWrite, failedWrites } from '../../../workflows/messages.js';
import { keyBytes } from '../../events/failed-write-codec.js';
import { lookOut } from '../../patience/lookout.js';
import { Outage } from '../../patience/outage.js';
import { jittered, pauseAfter } from '../../patience/pause.js';
import { errorText, isTemporalError } from '../../temporal/error-text.js';
import type { KeyGroup, Links } from '../group.js';
import type { Signaller } from '../signaller.js';
import { isOfWholeKey, wholeKeyAfter } from '../whole-key.js';
import { workflowIdOf } from '../workflow-id.js';
import { foreignRunOf, type SignalClient } from './own-runs.js';
import { CLOCKS_DIFFER_MS, LAG_MS, type Unfinished, type UnfinishedRuns } from './unfinished-runs.js';

const LOOK_EVERY_MS = 3_000;
/** Before a run is asked of again that Temporal did not tell of. */
const PAUSES = { firstMs: LOOK_EVERY_MS, longestMs: 300_000 };
const CALL_TIMEOUT_MS = 10_000;
/** Of each look, newest first: after a mass termination signals come before these calls. */
const MOST_AT_ONCE = 1_000;
const CONCURRENCY = 8;
/**
 * A bridge has listed what closed longer than this before it told of a key: it trusts a list for
 * `LAG_MS`, which may itself lag as long, and a signal may take some seconds.
 */
const UNKNOWN_FOR_MS = 3 * LAG_MS;

const NOT_TOLD =
  'the run behind one that did not finish could not be told of the whole key: a part of it may differ; `keymend reconcile` looks at all of it';

interface FollowersOptions {
  readonly client: SignalClient;
  readonly taskQueue: string;
  readonly links: Links;
  readonly signaller: Signaller;
  readonly unfinished: UnfinishedRuns;
  readonly logger: Logger;
}

/** What a follower is to be told, in the name of whoever told it of less. */
interface Untold {
  readonly group: KeyGroup;
  readonly event: FailedWrite;
}

/**
 * Looks every few seconds, from now on.
 * @returns what ends that, and waits for the calls under way
 */
export function watchFollowers(options: FollowersOptions): { stop(): Promise<void> } {
  const { client, taskQueue, unfinished, signaller, logger } = options;
  // A stand-in for a client tells nothing of its runs.
  if (!(client instanceof WorkflowClient)) return { async stop() {} };
  const closing = new AbortController();
  /** `late`: no follower comes any more that another bridge could have told of less. */
  const asked = new WeakMap<Unfinished, 'early' | 'late'>();
  /** How often in a row Temporal did not tell, and until when it is left alone then. */
  const refused = new Map<Unfinished, { readonly times: number; readonly until: number }>();
  const outage = new Outage(logger, 'Temporal does not tell what has followed runs that did not finish');
  const stageOf = ({ closedAt }: Unfinished) =>
    Date.now() > closedAt + UNKNOWN_FOR_MS + CLOCKS_DIFFER_MS ? 'late' : 'early';

  async function ask(run: Unfinished): Promise<void> {
    if (closing.signal.aborted) return;
    const stage = stageOf(run);
    try {
      const untold = await untoldFollower(client as WorkflowClient, run, options);
      const end = untold && (await signaller.signal(untold.group, [untold.event], closing.signal));
      if (end?.kind === 'refused' || end?.kind === 'misled') logger.warn({ workflowId: run.workflowId }, NOT_TOLD);
    } catch (error) {
      const fields = { error: errorText(error), runId: run.runId };
      logger.debug(fields, 'what followed a run that did not finish is not known now');
      // Anything else is no better at the next look: a history that can't be read.
      if (isTemporalError(error)) {
        const times = (refused.get(run)?.times ?? 0) + 1;
        refused.set(run, { times, until: performance.now() + jittered(pauseAfter(times, PAUSES)) });
        outage.failed(errorText(error));
        return;
      }
    }
    refused.delete(run);
    asked.set(run, stage);
  }

  const { stop } = lookOut(LOOK_EVERY_MS, async () => {
    const untold = new Set(unfinished.untold().filter((run) => run.taskQueue === taskQueue));
    for (const run of refused.keys()) if (!untold.has(run)) refused.delete(run);
    const isDue = (run: Unfinished) =>
      asked.get(run) !== stageOf(run) && performance.now() >= (refused.get(run)?.until ?? 0);
    await pMap([...untold].filter(isDue).reverse().slice(0, MOST_AT_ONCE), ask, { concurrency: CONCURRENCY });
    if (refused.size === 0) outage.worked();
  });
  return {
    async stop() {
      closing.abort();
      await stop();
    },
  };
}

/**
 * @returns null: nothing follows the run, or it was told enough
 * @throws what the client throws when Temporal does not answer
 */
async function untoldFollower(
  client: WorkflowClient,
  { workflowId, runId, closedAt }: Unfinished,
  { taskQueue, links }: FollowersOptions,
): Promise<Untold | null> {
  const call = <T>(work: () => Promise<T>) => client.withDeadline(Date.now() + CALL_TIMEOUT_MS, work);
  const last = await call(() => client.getHandle(workflowId).describe()).catch((error: unknown) => {
    // Past the retention.
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  });
  if (last === null || last.runId === runId || foreignRunOf(last, taskQueue) !== null) return null;
  // One that has continued as new began earlier, and what it was told is in both.
  const firstRunId = last.raw.workflowExecutionInfo?.firstRunId || last.runId;
  const runs = [...new Set([firstRunId, last.runId])].map((id) => client.getHandle(workflowId, id));
  const first = firstRunId === last.runId ? last : await call(() => runs[0]!.describe());
  if (first.startTime.getTime() > closedAt + UNKNOWN_FOR_MS) return null;
  const histories = await pMap(runs, (run) => call(() => run.fetchHistory()), { concurrency: 1 });
  const told: FailedWrite[] = [];
  for (const { events } of histories) {
    for (const { workflowExecutionSignaledEventAttributes: signal } of events ?? []) {
      if (signal?.signalName !== failedWrites.name) continue;
      const [writes] = await decodeArrayFromPayloads(client.options.loadedDataConverter, signal.input?.payloads);
      told.push(...(writes as FailedWrite[]));
    }
  }
  const newest = told.at(-1);
  // Who was told nothing was begun by a person, and looks at the whole key.
  if (newest === undefined || told.some(isOfWholeKey)) return null;
  const link = links.get(newest.link);
  const key = keyBytes({ key: newest.key, encoding: newest.encoding ?? 'utf8' });
  if (link === undefined || workflowIdOf(link, key) !== workflowId) return null;
  return { group: { kind: 'key', link, key, writes: [] }, event: wholeKeyAfter(runId, newest) };
}
