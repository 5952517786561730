/**
 * Hands failed-write records over, many at once and in their order, and never loses one without
 * saying so.
 */
import type { FailedWrite } from '../../../workflows/failed-write.js';
import type { RecordSink } from '../../events/record-sink.js';
import { messageOf } from '../../patience/outage.js';
import { within } from '../../patience/within.js';
import { counted } from '../../plural.js';
import { PendingRecords, type TakenRecord, type Waiter } from './pending-records.js';
import { SinkChain } from './sink-chain.js';

/**
 * Failed writes that no sink took. No one but the receiver of this error knows of them: `records`
 * is the last chance to keep them. In transactional mode the outbox knows too: of each write but
 * those that went without an entry.
 */
export class RecordsLostError extends Error {
  override readonly name = 'RecordsLostError';
  readonly records: readonly FailedWrite[];

  constructor(records: readonly FailedWrite[], cause: unknown, outboxKnows: boolean) {
    const consequence = outboxKnows
      ? 'but the outbox has entries of the writes, so keymend will repair their keys, unless a write went without an entry'
      : 'so nothing will repair their keys';
    const were = counted(records.length, 'failed write was', 'failed writes were');
    super(`${were} not recorded, ${consequence}: ${messageOf(cause)}`, { cause });
    this.records = records;
  }
}

interface PublisherOptions {
  /** In the order of preference. */
  readonly sinks: readonly RecordSink[];
  readonly onError: (error: RecordsLostError) => void;
  /** So many records may wait; more are lost, and `onError` told. */
  readonly maxPending: number;
  /** How long a sink may take before the next one is asked. */
  readonly failoverAfterMs: number;
  /**
   * Whether each write has an entry in the outbox until its record is safe, as in transactional
   * mode.
   */
  readonly outboxKnows: boolean;
  /** Told the intents that nobody needs any more, as soon as their records are safe. */
  readonly whenSafe?: ((intents: readonly string[]) => void) | undefined;
}

/** So many records go to a sink in one call. */
const MAX_BATCH = 1000;

export class Publisher {
  readonly #chain: SinkChain;
  readonly #onError: (error: RecordsLostError) => void;
  readonly #noRoom: string;
  readonly #outboxKnows: boolean;
  readonly #waiting: PendingRecords;
  readonly #whenSafe: PublisherOptions['whenSafe'];
  #publishing: readonly TakenRecord[] = [];
  #refused: FailedWrite[] = [];
  #run: Promise<void> | undefined;
  #published = 0;
  #lost = 0;

  constructor({ sinks, onError, maxPending, failoverAfterMs, outboxKnows, whenSafe }: PublisherOptions) {
    this.#whenSafe = whenSafe;
    this.#chain = new SinkChain(sinks, failoverAfterMs);
    this.#onError = onError;
    this.#outboxKnows = outboxKnows;
    this.#noRoom = `${counted(maxPending, 'key already waits', 'keys already wait')} for a sink`;
    this.#waiting = new PendingRecords(maxPending);
  }

  /** Records handed over so far. */
  get published(): number {
    return this.#published;
  }

  /** Records that no sink took. */
  get lost(): number {
    return this.#lost;
  }

  /** How many records are not handed over yet. */
  get size(): number {
    return this.#publishing.length + this.#waiting.size;
  }

  /** Whether a record of the key waits, which a further failed write would only widen. */
  awaits(key: Buffer): boolean {
    return this.#waiting.has(key);
  }

  /** @param intents nobody needs once all of the records are safe: their IDs */
  add(records: readonly FailedWrite[], intents: readonly string[] = NONE): void {
    const along = records.length === 1 ? { intents } : { waiter: this.#waiterOf(records.length, intents) };
    for (const record of records) if (!this.#waiting.add(record, along)) this.#refuse(record);
    this.#start();
  }

  /** @throws RecordsLostError when no sink takes one of the records */
  async addAndWait(records: readonly FailedWrite[]): Promise<void> {
    const outcomes = records.map(
      (record) =>
        new Promise<Error | undefined>((resolve) => {
          if (this.#waiting.add(record, { waiter: resolve })) return;
          this.#refuse(record);
          resolve(new RecordsLostError([record], this.#noRoom, this.#outboxKnows));
        }),
    );
    this.#start();
    const lost = (await Promise.all(outcomes)).find((outcome) => outcome !== undefined);
    if (lost) throw lost;
  }

  /**
   * Waits until nothing is pending, but not longer than `timeoutMs`. Whoever waits for a record
   * that is pending even then gets an error; the sink may still take it.
   */
  async close(timeoutMs: number): Promise<readonly FailedWrite[]> {
    this.#chain.closeWithin(timeoutMs);
    await within(timeoutMs, this.#idle());
    const left = [...this.#publishing, ...this.#waiting.take(Number.POSITIVE_INFINITY)];
    this.#publishing = [];
    const records = left.map(({ record }) => record);
    const why = 'the application closed before a sink took them';
    const error = new RecordsLostError(records, why, this.#outboxKnows);
    for (const { waiters } of left) tell(waiters, error);
    return records;
  }

  #start(): void {
    if (this.#waiting.size > 0) this.#run ??= this.#publishAll();
  }

  async #idle(): Promise<void> {
    while (this.#run !== undefined) await this.#run;
  }

  async #publishAll(): Promise<void> {
    // A broken connection fails many writes in the same turn of the event loop: they go as one.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.size > 0) {
      const batch = this.#waiting.take(MAX_BATCH);
      this.#publishing = batch;
      const records = batch.map(({ record }) => record);
      // Also of a sink that throws what nobody can read.
      const refusal = await this.#chain.publish(records).catch((cause: unknown) => ({ records, cause }));
      const refused = new Set(refusal?.records);
      this.#published += records.length - refused.size;
      // Given up by `close`: its report has said so already.
      const lost =
        refusal !== null && this.#publishing === batch ? this.#lose(refusal.records, refusal.cause) : undefined;
      this.#publishing = [];
      for (const { record, waiters, intents } of batch) {
        tell(waiters, refused.has(record) ? lost : undefined);
        if (!refused.has(record)) this.#whenSafe?.(intents);
      }
    }
    this.#run = undefined;
  }

  /** Of a write with several records. */
  #waiterOf(records: number, intents: readonly string[]): Waiter | undefined {
    if (intents.length === 0) return undefined;
    let left = records;
    return (lost) => {
      if (lost === undefined) left -= 1;
      if (left === 0) this.#whenSafe?.(intents);
    };
  }

  /** Without room for it. Those of one turn of the event loop are told as one. */
  #refuse(record: FailedWrite): void {
    if (this.#refused.length === 0) {
      setImmediate(() => {
        this.#lose(this.#refused, this.#noRoom);
        this.#refused = [];
      });
    }
    this.#refused.push(record);
  }

  #lose(records: readonly FailedWrite[], cause: unknown): RecordsLostError {
    this.#lost += records.length;
    const error = new RecordsLostError(records, cause, this.#outboxKnows);
    // Not in the middle of what runs here: a handler that throws shall show as an uncaught
    // exception, not stop the records behind.
    queueMicrotask(() => this.#onError(error));
    return error;
  }
}

const NONE: readonly string[] = [];

function tell(waiters: readonly Waiter[], lost: Error | undefined): void {
  for (const waiter of waiters) waiter(lost);
}
