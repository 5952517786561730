/**
 * How many batches are open: what is more stays in the log, where it costs nothing. One that has
 * been open for long waits, most likely for a server that is out, and makes room for others.
 */
import { EventEmitter, once, setMaxListeners } from 'node:events';
import { type WorkflowClient, WorkflowFailedError } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import type { Logger } from 'pino';
import { BATCH_TYPE, batchLinkOf } from '../../workflows/batch-messages.js';
import { backOff } from '../patience/back-off.js';

/** The part of Temporal's client that batches need. */
export type BatchClient = Pick<
  WorkflowClient,
  'start' | 'getHandle' | 'list' | 'withDeadline' | 'withAbortSignal' | 'connection'
>;

/** At work, of those that this bridge knows. */
const MOST_AT_WORK = 8;
/** At work or waiting: half a million keys. */
const MOST_OPEN = 500;
/** An open batch counts as waiting after this. */
const AT_WORK_MS = 20_000;
const LIST_TIMEOUT_MS = 10_000;
const LOOK_EVERY_MS = 1_000;

interface OpenBatch {
  readonly link: string;
  /** In `performance.now()`. */
  readonly since: number;
}

interface OpenBatchesOptions {
  readonly client: BatchClient;
  readonly taskQueue: string;
  /** Whether a server of the link's target does not answer. */
  readonly isOut: (link: string) => boolean;
  /** Told of a batch that was ended before each of its keys was somebody's. */
  readonly onLost: (workflowId: string, reason: string, signal: AbortSignal) => Promise<void>;
  readonly logger: Logger;
}

export class OpenBatches {
  readonly #options: OpenBatchesOptions;
  /** By workflow ID. */
  readonly #open = new Map<string, OpenBatch>();
  readonly #stopping = new AbortController();
  readonly #following = new Set<Promise<void>>();
  readonly #ended = new EventEmitter();
  #isFull = false;

  constructor(options: OpenBatchesOptions) {
    this.#options = options;
    // Each open batch waits on it; Node warns past ten.
    setMaxListeners(0, this.#stopping.signal);
  }

  /** Also those of a bridge that died: however often that happens, they are bounded. */
  async adopt(): Promise<void> {
    const { client, taskQueue, logger } = this.#options;
    const query = `WorkflowType = "${BATCH_TYPE}" AND ExecutionStatus = "Running" AND TaskQueue = "${taskQueue}"`;
    try {
      await client.withDeadline(Date.now() + LIST_TIMEOUT_MS, async () => {
        for await (const { workflowId } of client.list({ query })) {
          this.opened(workflowId, batchLinkOf(workflowId));
          if (this.#open.size >= MOST_OPEN) return;
        }
      });
    } catch (error) {
      logger.debug({ error: String(error) }, 'open batches are not listed');
    }
  }

  /** Resolves when one more may be opened, or when aborted. */
  async room(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#mustWait()) {
      // Also without one that ends: by and by those at work count as waiting.
      const soon = AbortSignal.any([signal, AbortSignal.timeout(LOOK_EVERY_MS)]);
      await once(this.#ended, 'ended', { signal: soon }).catch(() => {});
    }
  }

  #mustWait(): boolean {
    const begunAfter = performance.now() - AT_WORK_MS;
    const { isOut } = this.#options;
    const atWork = [...this.#open.values()].filter(({ link, since }) => since > begunAfter && !isOut(link)).length;
    this.#sayIfFull(this.#open.size >= MOST_OPEN);
    return atWork >= MOST_AT_WORK || this.#open.size >= MOST_OPEN;
  }

  #sayIfFull(isFull: boolean): void {
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    const { logger } = this.#options;
    if (isFull) logger.warn(`${MOST_OPEN} batches wait; further failed writes stay in the log until one has ended`);
    else logger.info(`over: ${MOST_OPEN} batches wait`);
  }

  opened(workflowId: string, link: string): void {
    if (this.#open.has(workflowId)) return;
    this.#open.set(workflowId, { link, since: performance.now() });
    const followed = this.#follow(workflowId).finally(() => {
      this.#following.delete(followed);
      this.#open.delete(workflowId);
      this.#ended.emit('ended');
    });
    this.#following.add(followed);
  }

  /** Until it has ended, or this stops. */
  async #follow(workflowId: string): Promise<void> {
    const { client, onLost } = this.#options;
    const { signal } = this.#stopping;
    for (let failed = 1; !signal.aborted; failed++) {
      try {
        await client.withAbortSignal(signal, () => client.getHandle(workflowId).result());
        return;
      } catch (error) {
        if (error instanceof WorkflowFailedError) return onLost(workflowId, reasonOf(error), signal);
        // Temporal is away, or has forgotten the batch, which then ended long ago.
        if (error instanceof WorkflowNotFoundError) return;
        await backOff(failed, signal);
      }
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#following);
  }
}

/** `TerminatedFailure`, `TimeoutFailure`, … in words. */
function reasonOf({ cause }: WorkflowFailedError): string {
  switch (cause?.name) {
    case 'TerminatedFailure':
      return 'was terminated';
    case 'TimeoutFailure':
      return 'timed out';
    default:
      return `failed: ${cause?.message ?? 'for an unknown reason'}`;
  }
}
