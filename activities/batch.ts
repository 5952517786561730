/** What the workflow `reconcileBatch` asks for: many keys of one link in one call of the engine. */
import { setMaxListeners } from 'node:events';
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { type KeyResult, reconcileEach, scopeOf } from '../src/engine/index.js';
import { keyBytes } from '../src/events/failed-write-codec.js';
import {
  ALL_EQUAL,
  type BatchActivities,
  type BatchFailure,
  type BatchReply,
  type BatchRequest,
  type Deferral,
  unpacked,
} from '../workflows/batch-messages.js';
import { isPermanent } from '../workflows/error-types.js';
import type { FailedWrite, ShardOutage } from '../workflows/messages.js';
import { addFailedWrites, NOTHING_PENDING } from '../workflows/pending.js';
import { effectOf, wroteList } from './effect.js';
import { startPulse } from './pulse.js';
import { Slots } from './slots.js';
import { isRemoved, stillUnknown } from './unknown-link.js';
import type { LinkRuntime, WorkflowRun } from './work.js';

/** Batches of one link under way in a worker: enough that one is at work while another waits. */
export const BATCHES_AT_ONCE = 4;
/**
 * A batch that finds no slot waits in line for one, of all links together so many. To come again
 * would cost it twice the actions. With the attempt behind it that stays within its 9 s.
 */
export const BATCHES_IN_LINE = 8;
const LONGEST_IN_LINE_MS = 2_000;
/** After this no further key is begun: its turn comes with the next attempt. */
const ENDS_MS = 4_000;
/** A budget that has room again so soon is waited for here. */
const WAITS_HERE_MS = 1_000;
/** Kinds of failures that are told apart, so that the reply is bounded. */
const MOST_FAILURES = 20;
const MOST_SAID = 1_000;

interface BatchDependencies {
  readonly links: ReadonlyMap<string, LinkRuntime>;
  /** Sees to it that each of these has a workflow of its own, or is a dead letter. */
  readonly handOver: (write: FailedWrite, batch: WorkflowRun, signal: AbortSignal) => Promise<void>;
  /** Told of each attempt at a batch. Must not throw. */
  readonly onBatch: (told: BatchAttempt) => void;
}

interface BatchAttempt {
  readonly workflowId: string;
  readonly request: BatchRequest;
  readonly reply: BatchReply;
  readonly durationMs: number;
}

export function createBatchActivities({ links, handOver, onBatch }: BatchDependencies): BatchActivities {
  const line = { room: BATCHES_IN_LINE, longestMs: LONGEST_IN_LINE_MS };
  const slots = new Map(Array.from(links.keys(), (name) => [name, new Slots(BATCHES_AT_ONCE, line)]));
  const unknownLink = (link: string) =>
    ApplicationFailure.retryable(
      `link "${link}" is not in the configuration of this worker; add it there`,
      'UnknownLink',
    );
  return {
    async reconcileBatch(request) {
      const { link, writes, asked } = request;
      const runtime = links.get(link);
      if (runtime === undefined) throw unknownLink(link);
      const begunAt = performance.now();
      const reply = await slots.get(link)!.run(() => attemptBatch(runtime, request));
      if ('retryAfterMs' in reply)
        return { ...ALL_EQUAL, deferred: [{ indices: [...writes.keys()], ...reply }], asked };
      const { workflowId } = Context.current().info.workflowExecution!;
      onBatch({ workflowId, request, reply, durationMs: performance.now() - begunAt });
      return { ...reply, asked };
    },

    async handOver({ link, part, writes, afterMs = 0 }) {
      const { cancellationSignal, info, sleep } = Context.current();
      const unknown = links.has(link) ? null : stillUnknown();
      // By the clock: for one key Temporal may have to be asked for a minute.
      const pulse = startPulse<number>(unknown ?? {});
      try {
        // Its keys are dead letters only where no other worker has it.
        if (unknown !== null && !isRemoved(unknown)) throw unknownLink(link);
        if (pulse.resume === undefined) await sleep(afterMs);
        for (let index = pulse.resume ?? 0; index < writes.length; index++) {
          const write = unpacked({ link, part }, writes[index]!);
          await handOver(write, info.workflowExecution!, cancellationSignal);
          cancellationSignal.throwIfAborted();
          pulse.report(index + 1);
        }
      } finally {
        pulse.stop();
      }
    },
  };
}

/** A key of the batch that has come to no end yet. */
interface Asked {
  readonly index: number;
  readonly key: Buffer;
  readonly scope: ReturnType<typeof scopeOf>;
  readonly verify: boolean;
}

/** One attempt at keys of a link, within an activity. */
export async function attemptBatch({ sides, options }: LinkRuntime, request: BatchRequest): Promise<BatchReply> {
  const { cancellationSignal } = Context.current();
  const signal = AbortSignal.any([cancellationSignal, AbortSignal.timeout(ENDS_MS)]);
  // Each key may wait on it; Node warns past ten.
  setMaxListeners(0, signal);
  const sum = new ReplySum();
  const asked: Asked[] = [];
  const now = Date.now();
  const { looksTwice = false } = request.policy;
  for (const [index, write] of request.writes.entries()) {
    const pending = addFailedWrites(NOTHING_PENDING, [unpacked(request, write)], request.policy, now);
    if (!request.isSettled && pending.settledAt > now) sum.defer(index, pending.settledAt - now);
    else {
      // Of a cache whatever `verify` says: behind a delete a fill may land.
      const verify = pending.verify || looksTwice;
      asked.push({ index, key: keyBytes(keyOf(write)), scope: scopeOf(pending.hint), verify });
    }
  }
  for (let open = asked; open.length > 0; ) {
    const again: Asked[] = [];
    let pauseMs = 0;
    const tasks = open.map(({ key, scope }) => ({ key, scope, signal }));
    await reconcileEach(sides, tasks, { ...options, comesAsOne: true }, (position, result) => {
      const one = open[position]!;
      const isBusy = result.outcome === 'deferred' && result.outage === null && result.repaired === null;
      if (isBusy && result.retryAfterMs <= WAITS_HERE_MS && !signal.aborted) {
        again.push(one);
        pauseMs = Math.max(pauseMs, result.retryAfterMs);
      } else sum.take(one, result, request.policy.verify !== 'never');
    });
    if (again.length > 0) await Context.current().sleep(pauseMs);
    open = again;
  }
  cancellationSignal.throwIfAborted();
  return sum.reply();
}

function keyOf({ key, encoding = 'utf8' }: Pick<FailedWrite, 'key' | 'encoding'>) {
  return { key, encoding };
}

/** The reply as it grows. Keys that are in none of its lists were equal. */
class ReplySum {
  readonly #repaired: number[] = [];
  readonly #lookAgain: number[] = [];
  readonly #large: number[] = [];
  readonly #deferred = new Map<string, { indices: number[]; retryAfterMs: number; outage: ShardOutage | undefined }>();
  readonly #failed = new Map<string, BatchFailure & { readonly indices: number[] }>();

  defer(index: number, retryAfterMs: number, outage?: ShardOutage): void {
    const name = outage?.shard ?? '';
    const one = this.#deferred.get(name) ?? { indices: [], retryAfterMs, outage };
    one.indices.push(index);
    one.retryAfterMs = Math.max(one.retryAfterMs, retryAfterMs);
    this.#deferred.set(name, one);
  }

  take({ index, verify }: Asked, result: KeyResult | { readonly outcome: 'given-up' }, mayVerify: boolean): void {
    switch (result.outcome) {
      case 'equal':
        return;
      case 'repaired':
        (verify || (mayVerify && wroteList(result)) ? this.#lookAgain : this.#repaired).push(index);
        return;
      case 'large':
        // What was written before is looked at again first, and found to be large once more.
        (result.repaired ? this.#lookAgain : this.#large).push(index);
        return;
      case 'given-up':
        this.defer(index, 0);
        return;
      case 'deferred': {
        const { outage, retryAfterMs, repaired } = result;
        if (repaired !== null) {
          this.#lookAgain.push(index);
          return;
        }
        const since = outage && { shard: outage.shard, since: new Date(outage.since).toISOString() };
        this.defer(index, retryAfterMs, since ?? undefined);
        return;
      }
      case 'failed': {
        const { type, message, stage } = result.error;
        const error = { type, message: message.slice(0, MOST_SAID), stage };
        this.#fail(index, { error, permanent: isPermanent(type), effect: effectOf(result) });
      }
    }
  }

  #fail(index: number, failure: Omit<BatchFailure, 'indices'>): void {
    const { error, effect } = failure;
    const kind = `${effect} ${error.type}`;
    const name = this.#failed.size < MOST_FAILURES ? `${kind} ${error.message}` : kind;
    const one = this.#failed.get(name) ?? { ...failure, indices: [] };
    one.indices.push(index);
    this.#failed.set(name, one);
  }

  reply(): BatchReply {
    const deferred: Deferral[] = [...this.#deferred.values()];
    const failed = [...this.#failed.values()];
    return { repaired: this.#repaired, lookAgain: this.#lookAgain, large: this.#large, deferred, failed };
  }
}
