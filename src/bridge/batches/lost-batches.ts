/**
 * Batches that were ended by somebody before each of their keys was healed or had a workflow of its
 * own. Their records are committed, so only a comparison of both sides finds these keys: a gap.
 */
import { WorkflowClient, type WorkflowHandle } from '@temporalio/client';
import { decodeArrayFromPayloads } from '@temporalio/common/lib/internal-non-workflow/index.js';
import type { Logger } from 'pino';
import { BATCH_TYPE } from '../../../workflows/batch-messages.js';
import { type Gap, type GapInput, gapWorkflowId, lost } from '../../../workflows/gap-messages.js';
import { lookOut } from '../../patience/lookout.js';
import { lineOf, Outage } from '../../patience/outage.js';
import { untilTaken } from '../../patience/until-taken.js';
import { quoted } from '../../temporal/quoted.js';
import type { Gaps } from '../gaps.js';
import type { SignalClient } from '../runs/own-runs.js';
import { LAG_MS } from '../runs/unfinished-runs.js';

interface LostBatchesOptions {
  readonly client: SignalClient;
  readonly taskQueue: string;
  readonly gaps: Gaps;
  readonly logger: Logger;
  /** 5 s by default. */
  readonly lookEveryMs?: number;
}

const LOOK_EVERY_MS = 5_000;
const CALL_TIMEOUT_MS = 10_000;
const MEANWHILE = 'Its batches that were ended are told of as lost once that is known.';
const WORDS: Readonly<Record<string, string>> = { TERMINATED: 'was terminated', TIMED_OUT: 'timed out' };

type HistoryEvent = NonNullable<Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']>[number];

interface Lost {
  readonly workflowId: string;
  /** Of its gap: what is begun anew under the same ID may be ended as well. */
  readonly id: string;
  readonly link: string;
  readonly how: string;
  /** By Temporal's clock, in ms since the epoch. */
  readonly closedAt: number;
}

/** Looks now and then, at first also for what happened while no bridge ran. */
export function watchLostBatches({
  client,
  taskQueue,
  gaps,
  logger,
  lookEveryMs = LOOK_EVERY_MS,
}: LostBatchesOptions): { stop(): Promise<void> } {
  // A stand-in for a client has no list.
  if (!(client instanceof WorkflowClient)) return { async stop() {} };
  // Of that type also in what is declared below.
  const temporal: WorkflowClient = client;
  const end = new AbortController();
  const { signal } = end;
  const told = new Set<string>();
  /** By link, while it is under way. */
  const telling = new Map<string, Promise<void>>();
  let newest = 0;

  async function tell(link: string, found: readonly Lost[]): Promise<void> {
    const outage = new Outage(logger, `Temporal does not say what the gap of link ${link} was told`, MEANWHILE);
    let before: ReadonlySet<string> = new Set();
    const ask = async () => {
      before = await toldToGaps(temporal, taskQueue, link);
    };
    if (!(await untilTaken(ask, { outage, explain: lineOf, signal }))) return;
    for (const { workflowId, id, how } of found) {
      if (signal.aborted) return;
      if (!before.has(id)) {
        const message = `${workflowId} ${how} before each of its keys was healed; only a comparison of both sides finds which`;
        await gaps.open({ id, cause: 'ended', records: null, message }, signal, [link]);
      }
      if (!signal.aborted) told.add(id);
    }
  }

  async function look(): Promise<void> {
    const found = await calling(temporal, () => lostSince(temporal, taskQueue, newest, signal));
    const untold = found.filter(({ id }) => !told.has(id));
    // Each link for itself, and no look waits for it: where another keymend has the ID of its gap,
    // that takes as long as somebody lets it.
    for (const link of new Set(untold.map((lost) => lost.link))) {
      if (telling.has(link)) continue;
      const ofLink = untold.filter((lost) => lost.link === link);
      telling.set(
        link,
        tell(link, ofLink).finally(() => telling.delete(link)),
      );
    }
    // What is not told yet is listed the next time as well.
    const upTo =
      untold.length > 0
        ? Math.min(...untold.map(({ closedAt }) => closedAt))
        : Math.max(0, ...found.map(({ closedAt }) => closedAt));
    newest = Math.max(newest, upTo);
  }

  const lookout = lookOut(lookEveryMs, () =>
    // What is not listed now is listed the next time.
    look().catch((error: unknown) => logger.debug({ error: String(error) }, 'ended batches are not listed')),
  );
  lookout.now();
  return {
    async stop() {
      end.abort();
      await lookout.stop();
      await Promise.all(telling.values());
    },
  };
}

/**
 * Oldest first, as they are told of.
 * @param newest ms since the epoch; 0: all that Temporal still knows
 */
async function lostSince(
  client: WorkflowClient,
  taskQueue: string,
  newest: number,
  signal: AbortSignal,
): Promise<Lost[]> {
  const since = newest === 0 ? '' : ` AND CloseTime > "${new Date(newest - LAG_MS).toISOString()}"`;
  const query = `WorkflowType = "${BATCH_TYPE}" AND TaskQueue = ${quoted(taskQueue)} AND ExecutionStatus IN ("Terminated", "TimedOut", "Failed")`;
  const found: Lost[] = [];
  for await (const { workflowId, runId, memo, status, closeTime } of client.list({ query: query + since })) {
    const id = `${workflowId} ${runId}`;
    const how = WORDS[status.name] ?? 'failed';
    found.push({ workflowId, id, link: String(memo?.link), how, closedAt: closeTime?.getTime() ?? 0 });
    if (signal.aborted) break;
  }
  return found.sort((a, b) => a.closedAt - b.closedAt);
}

function calling<T>(client: WorkflowClient, work: () => Promise<T>): Promise<T> {
  return client.withDeadline(Date.now() + CALL_TIMEOUT_MS, work);
}

/**
 * What gaps of the link were told: open ones, where it stands, and closed ones, which somebody has
 * dealt with. That a gap was closed later than a batch ended says nothing: perhaps nobody was there
 * to tell it of that.
 */
async function toldToGaps(client: WorkflowClient, taskQueue: string, link: string): Promise<ReadonlySet<string>> {
  const query = `WorkflowId = ${quoted(gapWorkflowId(link))} AND TaskQueue = ${quoted(taskQueue)}`;
  const ids = new Set<string>();
  const runs = client.list({ query })[Symbol.asyncIterator]();
  for (;;) {
    const { done, value: run } = await calling(client, () => runs.next());
    if (done) return ids;
    const { events } = await calling(client, () => client.getHandle(run.workflowId, run.runId).fetchHistory());
    for (const event of events ?? []) for (const { id } of await gapsIn(event, client)) ids.add(id);
  }
}

/** What an event tells a gap of; nothing where that can't be read: it is told once more then. */
async function gapsIn(
  { workflowExecutionSignaledEventAttributes: signal, workflowExecutionStartedEventAttributes: start }: HistoryEvent,
  { options }: WorkflowClient,
): Promise<readonly Gap[]> {
  if (start == null && signal?.signalName !== lost.name) return [];
  try {
    const { payloads } = start?.input ?? signal?.input ?? {};
    const [told] = await decodeArrayFromPayloads(options.loadedDataConverter, payloads);
    const gaps = start == null ? told : (told as GapInput).carried?.gaps;
    return Array.isArray(gaps) ? gaps.filter((gap) => typeof gap?.id === 'string') : [];
  } catch {
    return [];
  }
}
