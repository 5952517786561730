/** Several places for failed-write records as one: the first that takes them has them. */
import type { FailedWrite } from '../../../workflows/messages.js';
import type { RecordSink } from '../../events/record-sink.js';
import { messageOf } from '../../patience/outage.js';
import { pauseAfter } from '../../patience/pause.js';
import { within } from '../../patience/within.js';

/** A sink and what the chain knows of it. */
interface ChainedSink {
  readonly sink: RecordSink;
  /** The call that has not ended yet; never rejects. */
  call?: Promise<void> | undefined;
  failedInARow: number;
  /** Others are asked first until then (`performance.now()`, ms). */
  restsUntil: number;
}

/** How long a sink that failed is not asked first. */
const RESTS = { firstMs: 1000, longestMs: 30_000 };

/**
 * Records are handed over batch by batch, each in the order of the sinks: the next sink is asked
 * when one fails, or does not answer within `failoverAfterMs`. A sink that failed rests, for 1 s at
 * first and 30 s at most, before it is asked first again.
 *
 * A sink that was too slow may take its records after all: then they are there twice, with the same
 * ids, which harms nothing. When the first sink works again, its records can reach keymend before
 * those that the second one still holds. That harms nothing either: a record makes keymend look at
 * a key, and what it then copies is the source's state.
 */
export class SinkChain {
  readonly #sinks: readonly ChainedSink[];
  readonly #failoverAfterMs: number;
  #closesAt = Number.POSITIVE_INFINITY;
  #hurry: (() => void) | undefined;

  constructor(sinks: readonly RecordSink[], failoverAfterMs: number) {
    this.#sinks = sinks.map((sink) => ({ sink, failedInARow: 0, restsUntil: 0 }));
    this.#failoverAfterMs = failoverAfterMs;
  }

  /**
   * @throws what the sink rejected with; of several an Error that says all, with them as `cause`;
   *   when none took the records
   */
  async publish(records: readonly FailedWrite[]): Promise<void> {
    const order = this.#order();
    if (order.length === 1) return this.#call(order[0]!, records);
    const calls: Promise<void>[] = [];
    for (const [index, chained] of order.entries()) {
      const call = this.#call(chained, records);
      calls.push(call);
      // All were asked: whatever still runs may take them.
      if (index === order.length - 1) break;
      const outcome = await this.#within(isFulfilled(call));
      if (outcome === true) return;
      if (outcome === 'late') this.#rest(chained);
    }
    try {
      await Promise.any(calls);
    } catch (error) {
      const { errors } = error as AggregateError;
      throw new Error(errors.map(messageOf).join('; '), {
        cause: errors.length > 1 ? error : errors[0],
      });
    }
  }

  /**
   * From now on a slow sink gets half of the time that is left, so that the next one can still be
   * asked.
   */
  closeWithin(timeoutMs: number): void {
    this.#closesAt = performance.now() + timeoutMs;
    this.#hurry?.();
  }

  /** Those that work, those that failed lately, those that are still busy with an earlier batch. */
  #order(): ChainedSink[] {
    const now = performance.now();
    const rank = ({ call, restsUntil }: ChainedSink) => (call ? 2 : restsUntil > now ? 1 : 0);
    return [...this.#sinks].sort((a, b) => rank(a) - rank(b));
  }

  async #call(chained: ChainedSink, records: readonly FailedWrite[]): Promise<void> {
    while (chained.call) await chained.call;
    const publishing = Promise.resolve(records).then((batch) => chained.sink.publish(batch));
    chained.call = publishing
      .then(
        () => {
          chained.failedInARow = 0;
          chained.restsUntil = 0;
        },
        () => this.#rest(chained),
      )
      .finally(() => {
        chained.call = undefined;
      });
    await publishing;
  }

  #rest(chained: ChainedSink): void {
    chained.failedInARow += 1;
    chained.restsUntil = performance.now() + pauseAfter(chained.failedInARow, RESTS);
  }

  async #within(work: Promise<boolean>): Promise<boolean | 'late'> {
    const halfOfTheRest = () => Math.max(0, this.#closesAt - performance.now()) / 2;
    try {
      return await within(Math.min(this.#failoverAfterMs, halfOfTheRest()), work, (restart) => {
        this.#hurry = () => restart(halfOfTheRest());
      });
    } finally {
      this.#hurry = undefined;
    }
  }
}

async function isFulfilled(ended: Promise<void>): Promise<boolean> {
  return ended.then(
    () => true,
    () => false,
  );
}
