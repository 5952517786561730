/**
 * How many batches are open: what is more stays in the log, where it costs nothing. One that has
 * been open for long waits, most likely for a server that is out, and makes room for others.
 */
import { EventEmitter, once, setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowClient } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import type { Logger } from 'pino';
import { BATCH_TYPE } from '../../../workflows/batch-messages.js';
import { jittered, pauseAfter } from '../../patience/pause.js';
import { openRuns } from '../../temporal/quoted.js';

/** The part of Temporal's client that batches need. */
export type BatchClient = Pick<WorkflowClient, 'start' | 'getHandle' | 'list' | 'withDeadline'>;

/** At work, of those that this bridge knows. */
const MOST_AT_WORK = 8;
/** At work or waiting: half a million keys. */
const MOST_OPEN = 500;
/** An open batch counts as waiting after this. */
const AT_WORK_MS = 20_000;
const CALL_TIMEOUT_MS = 10_000;
const LOOK_EVERY_MS = 1_000;
/**
 * Between two looks at one batch. Not by waiting for its result: each of these calls holds a place
 * of those that Temporal grants to workers and bridges together, and can't be ended reliably.
 */
const PAUSES = { firstMs: 100, longestMs: 30_000 };

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
  readonly logger: Logger;
}

export class OpenBatches {
  readonly #options: OpenBatchesOptions;
  /** By workflow ID. */
  readonly #open = new Map<string, OpenBatch>();
  readonly #stopping = new AbortController();
  readonly #following = new Set<Promise<void>>();
  readonly #ended = new EventEmitter();
  #opening = 0;
  #isFull = false;

  constructor(options: OpenBatchesOptions) {
    this.#options = options;
    // Each open batch, and each part of a log that waits for room; Node warns past ten.
    setMaxListeners(0, this.#stopping.signal, this.#ended);
  }

  /** Also those of a bridge that died: however often that happens, they are bounded. */
  async adopt(): Promise<void> {
    const { client, taskQueue, logger } = this.#options;
    const query = openRuns(BATCH_TYPE, taskQueue);
    try {
      await client.withDeadline(Date.now() + CALL_TIMEOUT_MS, async () => {
        for await (const { workflowId, memo } of client.list({ query })) {
          this.opened(workflowId, String(memo?.link));
          if (this.#open.size >= MOST_OPEN) return;
        }
      });
    } catch (error) {
      logger.debug({ error: String(error) }, 'open batches are not listed');
    }
  }

  /** Opens one more as soon as one more may be open, or when aborted. */
  async withRoom<T>(signal: AbortSignal, opening: () => Promise<T>): Promise<T> {
    while (!signal.aborted && this.#mustWait()) {
      // Also without one that ends: by and by those at work count as waiting.
      const soon = AbortSignal.any([signal, AbortSignal.timeout(LOOK_EVERY_MS)]);
      await once(this.#ended, 'ended', { signal: soon }).catch(() => {});
    }
    // Many wait for the room that one leaves, which is for the first of them.
    this.#opening += 1;
    try {
      return await opening();
    } finally {
      this.#opening -= 1;
      // What was not opened has left its room.
      this.#ended.emit('ended');
    }
  }

  #mustWait(): boolean {
    const begunAfter = performance.now() - AT_WORK_MS;
    const { isOut } = this.#options;
    const atWork = [...this.#open.values()].filter(({ link, since }) => since > begunAfter && !isOut(link)).length;
    this.#sayIfFull(this.#open.size >= MOST_OPEN);
    return atWork + this.#opening >= MOST_AT_WORK || this.#open.size + this.#opening >= MOST_OPEN;
  }

  #sayIfFull(isFull: boolean): void {
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    const { logger } = this.#options;
    if (isFull) logger.warn(`${MOST_OPEN} batches wait; further failed writes stay in the log until one has ended`);
    else logger.info(`over: ${MOST_OPEN} batches wait`);
  }

  get size(): number {
    return this.#open.size;
  }

  opened(workflowId: string, link: string): void {
    if (this.#open.has(workflowId)) return;
    this.#open.set(workflowId, { link, since: performance.now() });
    const followed = this.#untilEnded(workflowId).finally(() => {
      this.#following.delete(followed);
      this.#open.delete(workflowId);
      this.#ended.emit('ended');
    });
    this.#following.add(followed);
  }

  /** Or until this stops. */
  async #untilEnded(workflowId: string): Promise<void> {
    const { client } = this.#options;
    const { signal } = this.#stopping;
    for (let look = 1; ; look++) {
      await sleep(jittered(pauseAfter(look, PAUSES)), undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted) return;
      try {
        const describing = () => client.getHandle(workflowId).describe();
        const { status } = await client.withDeadline(Date.now() + CALL_TIMEOUT_MS, describing);
        if (status.name !== 'RUNNING') return;
      } catch (error) {
        // Temporal is away; or has deleted the batch.
        if (error instanceof WorkflowNotFoundError) return;
      }
    }
  }

  /** Takes at most as long as one call may. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#following);
  }
}
