/**
 * keymend as other services use it: asked and told through Temporal, without a worker and without
 * Redis or Kafka.
 */
import {
  type Client,
  type WorkflowExecutionDescription,
  type WorkflowHandle,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import { ApplicationFailure, type SignalDefinition } from '@temporalio/common';
import {
  DEFAULT_POLICY,
  type LinkPolicy,
  type ReconcileKeyInput,
  type ReconcileKeyResult,
  type RetryRequest,
  retry,
  SEARCH_ATTRIBUTES,
  skip,
  status,
  WORKFLOW_TYPE,
} from '../../workflows/messages.js';
import type { reconcileKey } from '../../workflows/reconcile-key.js';
import type { SweepOptions } from '../../workflows/sweep-messages.js';
import { foreignRunOf } from '../bridge/runs/own-runs.js';
import { workflowIdOf } from '../bridge/workflow-id.js';
import { CACHE_LEASE_MS } from '../defaults.js';
import { encodeKey } from '../events/failed-write-codec.js';
import { isOwnKey, OWN_KEY_REFUSED } from '../own-keys.js';
import { findInBatches, type SoughtKey, statusInBatch } from '../temporal/key-in-batch.js';
import { LinkAttribute } from '../temporal/link-attribute.js';
import { quoted } from '../temporal/quoted.js';
import { startReconcileNow } from '../temporal/reconcile-now.js';
import { endedBy, type RunStatus, unfinishedBy } from '../temporal/unfinished.js';
import { explained, KeymendClientError } from './failure.js';
import { type SweepRun, type SweepStarting, sweepOf } from './sweep-run.js';

export interface KeymendClientOptions {
  /** Temporal's client, of the namespace that keymend works in. It stays the caller's to close. */
  readonly client: Client;
  /** `temporal.taskQueue` of keymend.yaml. Default `keymend`. */
  readonly taskQueue?: string;
  /** What keymend.yaml says of its links, by their names, where it is not the default. */
  readonly links?: Readonly<Record<string, ClientLink>>;
  /** For each answer of a worker, and of Temporal. Default 10,000 ms. */
  readonly timeoutMs?: number;
}

export interface ClientLink {
  /** Of the link in keymend.yaml; without it, or with another one, other workflows are asked. */
  readonly workflowIdPrefix?: string;
  /** The same of `workflowIdSecret`. */
  readonly workflowIdSecret?: string;
  /** That its source is a database, which has other defaults: a cache is looked at twice. */
  readonly source?: 'mysql';
  /** How a key is reconciled for which `reconcileNow` starts the workflow. */
  readonly policy?: Partial<LinkPolicy>;
}

/** A key that was given up on for now, as Temporal's list knows it. */
export interface Escalation {
  /** The key, where a person can read it: see `statusOf` for all that is known. */
  readonly workflowId: string;
  readonly link: string | null;
  /** The error type; null where it is not known. */
  readonly error: string | null;
  readonly startedAt: Date;
}

/** How long a reconcile is waited for: the retries of a link may take minutes. */
const PATIENCE_MS = 10 * 60_000;
const QUIET = { warn() {}, info() {} };

export class KeymendClient {
  readonly #client: Client;
  readonly #taskQueue: string;
  readonly #links: Readonly<Record<string, ClientLink>>;
  readonly #timeoutMs: number;
  /** That the attribute is missing is for the worker to tell of. */
  readonly #attribute = new LinkAttribute(QUIET);

  constructor({ client, taskQueue = 'keymend', links = {}, timeoutMs = 10_000 }: KeymendClientOptions) {
    this.#client = client;
    this.#taskQueue = taskQueue;
    this.#links = links;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * What the workflow of a key says of itself, or the batch that it travels in; of one that has
   * ended, as long as Temporal keeps it. The state of one that somebody has ended is `terminated`,
   * `cancelled`, `timed out` or `failed`: nobody repairs the key.
   * @param key text, or raw bytes
   * @returns null: nothing is known of the key
   * @throws KeymendClientError `NoAnswer`, `WorkflowIdTaken`, and as every method `TemporalFailed`
   */
  async status(link: string, key: string | Buffer): Promise<RunStatus | null> {
    const bytes = bytesOf(key);
    const workflowId = this.#idOf(link, bytes);
    const run = await this.#ownRun(workflowId);
    if (run?.status.name !== 'RUNNING') {
      const sought = this.#sought(link, bytes);
      const { found, doubt } = await findInBatches(this.#client, sought);
      if (found !== null) return statusInBatch(sought, found);
      if (run === null && doubt !== null) throw new KeymendClientError('NoAnswer', doubt);
    }
    return run === null ? null : this.#statusOf(run);
  }

  /**
   * The same by the ID of a workflow, as `escalations` lists it.
   * @throws KeymendClientError `NotRunning` where Temporal has none under it; else as `status`
   */
  async statusOf(workflowId: string): Promise<RunStatus> {
    const run = await this.#run(workflowId);
    if (run === null) throw notRunning(workflowId);
    return this.#statusOf(run);
  }

  /**
   * Compares the key now, repairs it if it differs, and waits for what comes of it: at most ten
   * minutes. Starts the workflow of the key if none runs; asked by several at once, it is one.
   * @throws KeymendClientError `NoAnswer`, `NotDone`, `ReservedKey`, `WorkflowIdTaken`, or the type
   *   of the error that the reconcile has ended with
   */
  async reconcileNow(
    link: string,
    key: string | Buffer,
    { allowDelete }: Pick<RetryRequest, 'allowDelete'> = {},
  ): Promise<ReconcileKeyResult> {
    const bytes = bytesOf(key);
    if (isOwnKey(bytes)) throw new KeymendClientError('ReservedKey', OWN_KEY_REFUSED);
    const workflowId = this.#idOf(link, bytes);
    await this.#ownRun(workflowId);
    const patienceEnds = Date.now() + PATIENCE_MS;
    for (;;) {
      const update = await this.#answer(workflowId, () => this.#startUpdate(link, bytes, allowDelete));
      try {
        return await this.#client.withDeadline(patienceEnds, () => update.result());
      } catch (error) {
        if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) {
          throw new KeymendClientError('NotDone', `workflow ${workflowId} is still at it; ask for its status`, error);
        }
        const failure = error instanceof WorkflowUpdateFailedError ? error.cause : null;
        if (!(failure instanceof ApplicationFailure)) throw explained(error, 'Temporal has not answered in time');
        // The run that was asked has made room for a new one; that one is asked instead.
        if (failure.type === 'ContinuedAsNew') continue;
        throw new KeymendClientError(failure.type ?? 'Failed', failure.message, error);
      }
    }
  }

  /**
   * Has a key tried again now that waits for its next try, or is escalated.
   * @returns what its workflow says of itself then
   * @throws KeymendClientError `NotRunning`, `NoAnswer`, `WorkflowIdTaken`
   */
  async retry(link: string, key: string | Buffer): Promise<RunStatus> {
    return this.#tell(link, bytesOf(key), retry);
  }

  /**
   * Gives up on what is pending of a key. What differs goes on to differ until a write, a reconcile
   * or a sweep.
   * @param reason for those who ask later
   * @returns what its workflow says of itself then
   * @throws KeymendClientError `NotRunning`, `NoAnswer`, `WorkflowIdTaken`
   */
  async skip(link: string, key: string | Buffer, reason: string): Promise<RunStatus> {
    return this.#tell(link, bytesOf(key), skip, { reason });
  }

  /**
   * The keys that are escalated, about a second after they became so. Needs the search attributes
   * of keymend.
   * @param only those of a link, or with an error type
   * @throws KeymendClientError `NoAnswer`, `TemporalFailed`
   */
  async *escalations(only: { readonly link?: string; readonly error?: string } = {}): AsyncGenerator<Escalation> {
    const clauses = [
      `WorkflowType = '${WORKFLOW_TYPE}' AND ExecutionStatus = 'Running' AND ${SEARCH_ATTRIBUTES.state} = 'escalated'`,
      ...(only.link === undefined ? [] : [`${SEARCH_ATTRIBUTES.link} = ${quoted(only.link)}`]),
      ...(only.error === undefined ? [] : [`${SEARCH_ATTRIBUTES.error} = ${quoted(only.error)}`]),
    ];
    const runs = this.#client.workflow.list({ query: clauses.join(' AND ') })[Symbol.asyncIterator]();
    for (;;) {
      const { value: run, done } = await this.#temporal(() => runs.next());
      if (done) return;
      const attribute = (name: string) => (run.searchAttributes[name]?.[0] as string | undefined) ?? null;
      yield {
        workflowId: run.workflowId,
        link: attribute(SEARCH_ATTRIBUTES.link),
        error: attribute(SEARCH_ATTRIBUTES.error),
        startedAt: run.startTime,
      };
    }
  }

  /**
   * Starts a full comparison of a link, or joins the one that is under way.
   * @throws KeymendClientError `NoAnswer`, `WorkflowIdTaken`
   */
  async sweep(link: string, options: SweepOptions = {}): Promise<SweepRun> {
    const { settleMs: settle } = this.#policyOf(link);
    const answer: SweepStarting['answer'] = (workflowId, ask) => this.#answer(workflowId, ask);
    const starting = { client: this.#client, taskQueue: this.#taskQueue, attribute: this.#attribute, answer };
    return this.#temporal(() => sweepOf(starting, { name: link, settle }, options));
  }

  /** As keymend.yaml has it where it is silent. */
  #policyOf(link: string): LinkPolicy {
    const { source, policy } = this.#links[link] ?? {};
    const ofCache = source === 'mysql' && { settleMs: CACHE_LEASE_MS, looksTwice: true };
    return { ...DEFAULT_POLICY, ...ofCache, ...policy };
  }

  #idOf(link: string, key: Buffer): string {
    const { workflowIdPrefix = '', workflowIdSecret } = this.#links[link] ?? {};
    return workflowIdOf({ workflowIdPrefix, workflowIdSecret }, key);
  }

  #sought(link: string, key: Buffer): SoughtKey {
    return { taskQueue: this.#taskQueue, link, key: encodeKey(key) };
  }

  #handle(workflowId: string): WorkflowHandle<typeof reconcileKey> {
    return this.#client.workflow.getHandle<typeof reconcileKey>(workflowId);
  }

  /** The newest run under this ID; null: there is none. */
  async #run(workflowId: string): Promise<WorkflowExecutionDescription | null> {
    try {
      return await this.#temporal(() => this.#handle(workflowId).describe());
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return null;
      throw error;
    }
  }

  async #statusOf({ workflowId, status: { name } }: WorkflowExecutionDescription): Promise<RunStatus> {
    const answer = await this.#answer(workflowId, () => this.#handle(workflowId).query(status)).catch(
      (error: unknown) => {
        throw error instanceof WorkflowNotFoundError ? notRunning(workflowId, error) : error;
      },
    );
    const unfinished = unfinishedBy(name);
    return unfinished === null ? answer : { ...answer, ...endedBy(unfinished) };
  }

  /**
   * @returns null where there is none under this ID, or only one of somebody else that has ended
   * @throws KeymendClientError for one that is not keymend's and goes on
   */
  async #ownRun(workflowId: string): Promise<WorkflowExecutionDescription | null> {
    const run = await this.#run(workflowId);
    if (run === null) return null;
    const foreign = foreignRunOf(run, this.#taskQueue);
    if (foreign === null) return run;
    if (run.status.name !== 'RUNNING') return null;
    throw new KeymendClientError(
      'WorkflowIdTaken',
      `${workflowId} is a workflow of type ${foreign.type} on task queue ${foreign.taskQueue}, not one of keymend on ` +
        `${this.#taskQueue}: it was told nothing`,
    );
  }

  async #tell<Args extends unknown[]>(
    link: string,
    key: Buffer,
    signal: SignalDefinition<Args>,
    ...args: Args
  ): Promise<RunStatus> {
    const workflowId = this.#idOf(link, key);
    if ((await this.#ownRun(workflowId))?.status.name !== 'RUNNING') {
      const { found, doubt } = await findInBatches(this.#client, this.#sought(link, key));
      if (found === null && doubt !== null) throw new KeymendClientError('NoAnswer', doubt);
      throw notRunning(workflowId, undefined, found?.workflowId);
    }
    try {
      await this.#temporal(() => this.#handle(workflowId).signal(signal, ...args));
    } catch (error) {
      throw error instanceof WorkflowNotFoundError ? notRunning(workflowId, error) : error;
    }
    return this.statusOf(workflowId);
  }

  /** What only a worker can answer: without one Temporal would let the caller wait. */
  #answer<T>(workflowId: string, ask: () => Promise<T>): Promise<T> {
    return this.#within(ask, `no worker has answered for ${workflowId} on task queue ${this.#taskQueue}`);
  }

  /** What Temporal answers by itself. */
  #temporal<T>(ask: () => Promise<T>): Promise<T> {
    return this.#within(ask, 'Temporal has not answered');
  }

  async #within<T>(ask: () => Promise<T>, late: string): Promise<T> {
    const deadline = Date.now() + this.#timeoutMs;
    try {
      return await this.#client.withDeadline(deadline, ask);
    } catch (error) {
      throw explained(error, `${late} within ${this.#timeoutMs} ms`, Date.now() >= deadline);
    }
  }

  #startUpdate(link: string, key: Buffer, allowDelete: boolean | undefined) {
    const input: ReconcileKeyInput = { link, ...encodeKey(key), policy: this.#policyOf(link), version: 3 };
    const run = { workflowId: this.#idOf(link, key), taskQueue: this.#taskQueue, args: [input] as [typeof input] };
    return startReconcileNow(this.#client, this.#attribute, run, { allowDelete });
  }
}

/** @param batch which one the key travels in, where it does */
function notRunning(workflowId: string, cause?: unknown, batch?: string): KeymendClientError {
  const why = batch === undefined ? '' : `: the key travels in batch ${batch}, which takes no word about one key`;
  return new KeymendClientError('NotRunning', `nothing is under way under ${workflowId}${why}`, cause);
}

function bytesOf(key: string | Buffer): Buffer {
  return typeof key === 'string' ? Buffer.from(key, 'utf8') : key;
}
