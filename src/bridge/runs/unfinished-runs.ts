/**
 * Which keys have a run that did not finish (terminated, cancelled, timed out, failed): nobody
 * knows what it still had to do, so whatever follows looks at the whole key. Asking at each start
 * would cost every key a call; the list of such runs costs one now and then, and lags behind. What
 * was started meanwhile is told again once the list has it. docs/decisions/0003-workflow-ids.md
 */
import { WorkflowClient } from '@temporalio/client';
import pMap from 'p-map';
import type { Logger } from 'pino';
import { WORKFLOW_TYPE } from '../../../workflows/messages.js';
import { errorText } from '../../temporal/error-text.js';
import type { SignalClient } from './own-runs.js';

/** What was taken, of one key or of many. */
interface Told {
  /** Of who took it. */
  readonly runId: string;
  /** In `performance.now()`, before it was asked whether it must be of the whole key. */
  readonly sentAt: number;
  /** Of the whole key: nothing of an earlier run is left out. */
  readonly isWhole: boolean;
  /** Tells one of them of the whole key, because the run `after` did not finish. */
  readonly again: (after: string, workflowId: string) => Promise<unknown>;
}

export interface UnfinishedRuns {
  /** Whether what is told now must be of the whole key. Also true while that is not known. */
  includes(workflowId: string): boolean;
  told(workflowIds: readonly string[], told: Told): void;
  /**
   * Those that nothing of the whole key has followed, as far as this process has told it, the last
   * listed last.
   */
  untold(): Unfinished[];
  /** Ends what `start` began. */
  stop(): Promise<void>;
}

const LIST_EVERY_MS = 3_000;
const LIST_TIMEOUT_MS = 10_000;
/** How much later than it closed a run may still appear in the list. */
export const LAG_MS = 60_000;
/** What closed longer than this before a list began is in it, whatever the clocks say. */
const LOOK_BACK_MS = 10 * 60_000;
/** By how much the clocks of this machine and of Temporal may differ unnoticed. */
export const CLOCKS_DIFFER_MS = 60_000;
/** How many keys are kept, in each of the two maps. */
const MOST_KEYS = 250_000;
const CONCURRENCY = 16;
const QUERY = `WorkflowType = "${WORKFLOW_TYPE}" AND ExecutionStatus IN ("Terminated", "Canceled", "TimedOut", "Failed")`;

/** For those who need not ask: nothing is known to be unfinished. */
export const NONE_UNFINISHED: UnfinishedRuns = {
  includes: () => false,
  told() {},
  untold: () => [],
  async stop() {},
};

/** Resolves when the list is there, or does not come; then every key is taken for one of it. */
export async function watchUnfinishedRuns(client: SignalClient, logger: Logger): Promise<UnfinishedRuns> {
  // A stand-in for a client has no list.
  if (!(client instanceof WorkflowClient)) return NONE_UNFINISHED;
  const watch = new Watch(client, logger);
  await watch.look();
  return watch;
}

export interface Unfinished {
  readonly workflowId: string;
  readonly runId: string;
  readonly taskQueue: string;
  /** By Temporal's clock, in ms since the epoch. */
  readonly closedAt: number;
  /** When it was known here to have closed, in `performance.now()`. */
  readonly listedAt: number;
}

/** With when the answer came: `at` in `performance.now()`, `toldAt` since the epoch. */
interface Kept extends Told {
  readonly at: number;
  readonly toldAt: number;
}

class Watch implements UnfinishedRuns {
  /** The last unfinished run of an ID that nothing of the whole key has followed yet. */
  readonly #unfinished = new Map<string, Unfinished>();
  /** What was told lately, newest last. */
  readonly #told = new Map<string, Kept>();
  /** When each listed run closed, for as long as it may be listed again. */
  readonly #listed = new Map<string, number>();
  readonly #client: WorkflowClient;
  readonly #logger: Logger;
  #newest: number | null = null;
  /** When the last list that came began, in ms since the epoch. */
  #listedFrom = 0;
  /** The same in `performance.now()`. */
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

  told(workflowIds: readonly string[], told: Told): void {
    // One for all, where there are many.
    const each = { ...told, at: performance.now(), toldAt: Date.now() };
    this.#missed ||= this.#isUnknown();
    for (const workflowId of workflowIds) {
      const before = this.#told.get(workflowId);
      const wasWhole = before?.runId === told.runId && before.isWhole;
      const kept = wasWhole && !told.isWhole ? { ...each, isWhole: true } : each;
      keep(this.#told, workflowId, kept);
      const run = this.#unfinished.get(workflowId);
      if (run !== undefined && standing(run, kept) === 'followed') this.#unfinished.delete(workflowId);
    }
  }

  untold(): Unfinished[] {
    return [...this.#unfinished.values()].filter((run) => standing(run, this.#told.get(run.workflowId)) === 'alone');
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
    const begunAt = Date.now();
    // Not from now: in a long outage of the list more has closed than in the last minutes.
    const since = this.#newest === null ? null : Math.max(this.#newest, this.#listedFrom - LOOK_BACK_MS) - LAG_MS;
    const clause = since === null ? '' : ` AND CloseTime > "${new Date(since).toISOString()}"`;
    const runs = this.#client.list({ query: QUERY + clause })[Symbol.asyncIterator]();
    let newest = this.#newest ?? 0;
    const found = new Map<string, Omit<Unfinished, 'listedAt'>>();
    const listed: [string, number][] = [];
    while (!this.#stopped) {
      const { done, value } = await this.#client.withDeadline(Date.now() + LIST_TIMEOUT_MS, () => runs.next());
      if (done) break;
      const { workflowId, runId, taskQueue } = value;
      const closedAt = value.closeTime?.getTime() ?? 0;
      newest = Math.max(newest, closedAt);
      if (this.#listed.has(runId)) continue;
      listed.push([runId, closedAt]);
      // The list begins with the run that closed last.
      if (!found.has(workflowId)) found.set(workflowId, { workflowId, runId, taskQueue, closedAt });
      if (listed.length === MOST_KEYS) {
        this.#logger.warn(
          `Temporal has more than ${MOST_KEYS} runs that did not finish; of those that closed before ` +
            `${new Date(closedAt).toISOString()} nothing is known. \`keymend sweep\` compares all keys of a link`,
        );
        break;
      }
    }
    const listedAt = performance.now();
    for (const [workflowId, run] of [...found].reverse()) keep(this.#unfinished, workflowId, { ...run, listedAt });
    for (const [runId, closedAt] of listed) this.#listed.set(runId, closedAt);
    this.#newest = newest;
    this.#listedFrom = begunAt;
    for (const [runId, closedAt] of this.#listed) if (closedAt < (since ?? 0)) this.#listed.delete(runId);
  }

  /** What was told before the list had the run that is behind it. */
  async #tellAgain(): Promise<void> {
    const due: [string, string, Told][] = [];
    for (const [workflowId, run] of this.#unfinished) {
      const told = this.#told.get(workflowId);
      const now = standing(run, told);
      if (now === 'followed') this.#unfinished.delete(workflowId);
      if (now === 'due') due.push([workflowId, run.runId, told!]);
    }
    const tellAgain = async ([workflowId, runId, { again }]: [string, string, Told]) => {
      if (this.#stopped) return;
      await again(runId, workflowId).then(
        () => this.#unfinished.delete(workflowId),
        // It stays due.
        () => {},
      );
    };
    await pMap(due, tellAgain, { concurrency: CONCURRENCY });
  }
}

/**
 * What a run that did not finish has to do with what was told of its key last: `alone` nothing, for
 * that went to it or to a run before; `followed` by the whole key; `due` otherwise.
 */
function standing({ runId, closedAt, listedAt }: Unfinished, told?: Kept): 'alone' | 'followed' | 'due' {
  if (told === undefined || told.runId === runId) return 'alone';
  // What is sent to a run that is known to have closed goes to one behind it, whatever clocks say.
  const isBehind = told.sentAt > listedAt || told.toldAt > closedAt + CLOCKS_DIFFER_MS;
  if (isBehind) return told.isWhole ? 'followed' : 'due';
  // What was told to a run before that one did not follow it, though the run is another.
  return told.toldAt < closedAt - CLOCKS_DIFFER_MS ? 'alone' : 'due';
}

/** As the newest; the oldest makes room for it. */
function keep<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > MOST_KEYS) map.delete(map.keys().next().value!);
}
