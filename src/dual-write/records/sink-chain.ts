/** Several places for failed-write records as one: the first that takes them has them. */
import type { FailedWrite } from '../../../workflows/failed-write.js';
import { type RecordSink, RecordsRefusedError } from '../../events/record-sink.js';
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

/** What no sink took, and what each said. */
interface Refusal {
  readonly records: readonly FailedWrite[];
  readonly cause: unknown;
}

/** How long a sink that failed is not asked first. */
const RESTS = { firstMs: 1000, longestMs: 30_000 };

/**
 * Records are handed over batch by batch, each in the order of the sinks: the next sink is asked
 * when one fails, or does not answer within `failoverAfterMs`; where one refuses some alone, it
 * is asked for these. A sink that failed rests, for 1 s at first and 30 s at most, before it is
 * asked first again.
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

  /** @returns null when each record was taken by a sink, which may be one that was late */
  async publish(records: readonly FailedWrite[]): Promise<Refusal | null> {
    const missing = new Set(records);
    const errors: unknown[] = [];
    const calls = new Set<Promise<void>>();
    const order = this.#order();
    for (const chained of order) {
      const asked = [...missing];
      const call = this.#call(chained, asked)
        .then(
          () => new Set<FailedWrite>(),
          (error) => {
            errors.push(error);
            return refusedOf(asked, error);
          },
        )
        .then((refused) => {
          for (const record of asked) if (!refused.has(record)) missing.delete(record);
          calls.delete(call);
        });
      calls.add(call);
      // All were asked: whatever still runs may take them.
      if (chained === order.at(-1)) break;
      if ((await this.#within(call)) === 'late') this.#rest(chained);
      if (missing.size === 0) return null;
    }
    while (missing.size > 0 && calls.size > 0) await Promise.race(calls);
    return missing.size === 0 ? null : { records: [...missing], cause: causeOf(errors) };
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
        (error) => {
          // It works: it is these records that it does not take.
          if (!(error instanceof RecordsRefusedError)) this.#rest(chained);
        },
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

  async #within(call: Promise<void>): Promise<'ended' | 'late'> {
    const halfOfTheRest = () => Math.max(0, this.#closesAt - performance.now()) / 2;
    try {
      return await within(
        Math.min(this.#failoverAfterMs, halfOfTheRest()),
        call.then(() => 'ended' as const),
        (restart) => {
          this.#hurry = () => restart(halfOfTheRest());
        },
      );
    } finally {
      this.#hurry = undefined;
    }
  }
}

/** Of several an Error that says all. */
function causeOf(errors: readonly unknown[]): unknown {
  if (errors.length === 1) return errors[0];
  return new Error(errors.map(messageOf).join('; '), { cause: new AggregateError(errors) });
}

/**
 * Which of the records that a sink was given it did not take: all, unless its error says in a way
 * that can be relied on which.
 */
function refusedOf(asked: readonly FailedWrite[], error: unknown): Set<FailedWrite> {
  const all = new Set(asked);
  if (!(error instanceof RecordsRefusedError)) return all;
  const { records } = error;
  return Array.isArray(records) && records.length > 0 && records.every((record) => all.has(record))
    ? new Set(records)
    : all;
}
