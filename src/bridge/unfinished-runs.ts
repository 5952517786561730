/**
 * Which keys have a run that did not finish (terminated, cancelled, timed out, failed): nobody
 * knows what it still had to do, so whatever follows looks at the whole key. Asking at each start
 * would cost every key a call; the list of such runs costs one now and then, and lags behind. What
 * was started meanwhile is told again once the list has it. docs/decisions/0003-workflow-ids.md
 */
import { WorkflowClient } from '@temporalio/client';
import pMap from 'p-map';
import type { Logger } from 'pino';
import { WORKFLOW_TYPE } from '../../workflows/messages.js';
import { errorText } from '../temporal/error-text.js';
import type { SignalClient } from './own-runs.js';

/** A signal that was taken. */
interface Told {
  readonly runId: string;
  /** Of the whole key: nothing of an earlier run is left out. */
  readonly isWhole: boolean;
  /** Tells of the whole key, because the run `after` did not finish. */
  readonly again: (after: string) => Promise<unknown>;
}

export interface UnfinishedRuns {
  /** Whether what is told now must be of the whole key. Also true while that is not known. */
  includes(workflowId: string): boolean;
  told(workflowId: string, told: Told): void;
  /** Ends what `start` began. */
  stop(): Promise<void>;
}

const LIST_EVERY_MS = 3_000;
const LIST_TIMEOUT_MS = 10_000;
/** How much later than it closed a run may still appear in the list. */
const LAG_MS = 60_000;
/** Runs further back are listed once, at the start; the clocks may differ by this. */
const LOOK_BACK_MS = 10 * 60_000;
/** By how much the clocks of this machine and of Temporal may differ unnoticed. */
const CLOCKS_DIFFER_MS = 60_000;
/** How many keys are kept, in each of the two maps. */
const MOST_KEYS = 250_000;
const CONCURRENCY = 16;
const QUERY = `WorkflowType = "${WORKFLOW_TYPE}" AND ExecutionStatus IN ("Terminated", "Canceled", "TimedOut", "Failed")`;

/** Resolves when the list is there, or does not come; then every key is taken for one of it. */
export async function watchUnfinishedRuns(client: SignalClient, logger: Logger): Promise<UnfinishedRuns> {
  // A stand-in for a client has no list.
  if (!(client instanceof WorkflowClient)) return { includes: () => false, told() {}, async stop() {} };
  const watch = new Watch(client, logger);
  await watch.look();
  return watch;
}

interface Unfinished {
  readonly runId: string;
  /** By Temporal's clock, in ms since the epoch. */
  readonly closedAt: number;
}

class Watch implements UnfinishedRuns {
  /** The last unfinished run of an ID that nothing of the whole key has followed yet. */
  readonly #unfinished = new Map<string, Unfinished>();
  /** What was told lately, newest last; `at` in `performance.now()`, `toldAt` since the epoch. */
  readonly #told = new Map<string, Told & { readonly at: number; readonly toldAt: number }>();
  /** When each listed run closed, for as long as it may be listed again. */
  readonly #listed = new Map<string, number>();
  readonly #client: WorkflowClient;
  readonly #logger: Logger;
  #newest: number | null = null;
  #knownAt = Number.NEGATIVE_INFINITY;
  /** Something was told of a whole key because there was no list. */
  #missed = false;
  #saidSo = false;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(client: WorkflowClient, logger: Logger) {
    this.#client = client;
    this.#logger = logger;
  }

  includes(workflowId: string): boolean {
    return this.#isUnknown() || this.#unfinished.has(workflowId);
  }

  told(workflowId: string, told: Told): void {
    const before = this.#told.get(workflowId);
    const isWhole = told.isWhole || (before?.runId === told.runId && before.isWhole);
    keep(this.#told, workflowId, { ...told, isWhole, at: performance.now(), toldAt: Date.now() });
    this.#missed ||= this.#isUnknown();
    const behind = this.#unfinished.get(workflowId);
    if (told.isWhole && behind !== undefined && behind.runId !== told.runId) this.#unfinished.delete(workflowId);
  }

  #isUnknown(): boolean {
    return performance.now() - this.#knownAt > LAG_MS;
  }

  /** Looks now, and from now on every few seconds. Never rejects. */
  look(): Promise<void> {
    this.#looking = this.#lookOnce().finally(() => {
      if (!this.#stopped) this.#timer = setTimeout(() => this.look(), LIST_EVERY_MS);
    });
    return this.#looking;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  async #lookOnce(): Promise<void> {
    const begunAt = performance.now();
    try {
      await this.#list();
      this.#knownAt = begunAt;
      if (this.#saidSo) this.#logger.info('over: Temporal does not list runs that did not finish');
      this.#saidSo = false;
      this.#missed = false;
    } catch (error) {
      // While Temporal takes no signals either, that is all there is to be said.
      if (!this.#saidSo && this.#missed) {
        this.#saidSo = true;
        this.#logger.warn(
          `Temporal does not list runs that did not finish: ${errorText(error)}. Until it does, whole keys are compared.`,
        );
      }
      return;
    }
    await this.#tellAgain();
    for (const [workflowId, { at }] of this.#told) {
      if (begunAt - at < LAG_MS) break;
      this.#told.delete(workflowId);
    }
  }

  async #list(): Promise<void> {
    const since = this.#newest === null ? null : Math.max(this.#newest, Date.now() - LOOK_BACK_MS) - LAG_MS;
    const clause = since === null ? '' : ` AND CloseTime > "${new Date(since).toISOString()}"`;
    const runs = this.#client.list({ query: QUERY + clause })[Symbol.asyncIterator]();
    let newest = this.#newest ?? 0;
    const found = new Map<string, Unfinished>();
    const listed: [string, number][] = [];
    while (!this.#stopped) {
      const { done, value } = await this.#client.withDeadline(Date.now() + LIST_TIMEOUT_MS, () => runs.next());
      if (done) break;
      const { workflowId, runId } = value;
      const closedAt = value.closeTime?.getTime() ?? 0;
      newest = Math.max(newest, closedAt);
      if (this.#listed.has(runId)) continue;
      listed.push([runId, closedAt]);
      // The list begins with the run that closed last.
      if (!found.has(workflowId)) found.set(workflowId, { runId, closedAt });
    }
    for (const [workflowId, run] of [...found].reverse()) keep(this.#unfinished, workflowId, run);
    for (const [runId, closedAt] of listed) this.#listed.set(runId, closedAt);
    this.#newest = newest;
    for (const [runId, closedAt] of this.#listed) if (closedAt < (since ?? 0)) this.#listed.delete(runId);
  }

  /** What was told before the list had the run that is behind it. */
  async #tellAgain(): Promise<void> {
    const due: [string, string, Told][] = [];
    for (const [workflowId, { runId, closedAt }] of this.#unfinished) {
      const told = this.#told.get(workflowId);
      // What was told to a run before that one did not follow it, though the run is another.
      if (told === undefined || told.runId === runId || told.toldAt < closedAt - CLOCKS_DIFFER_MS) continue;
      if (told.isWhole && told.toldAt > closedAt + CLOCKS_DIFFER_MS) this.#unfinished.delete(workflowId);
      else due.push([workflowId, runId, told]);
    }
    const tellAgain = async ([workflowId, runId, { again }]: [string, string, Told]) => {
      if (this.#stopped) return;
      await again(runId).then(
        () => this.#unfinished.delete(workflowId),
        // It stays due.
        () => {},
      );
    };
    await pMap(due, tellAgain, { concurrency: CONCURRENCY });
  }
}

/** As the newest; the oldest makes room for it. */
function keep<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > MOST_KEYS) map.delete(map.keys().next().value!);
}
