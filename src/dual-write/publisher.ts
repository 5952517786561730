/** Hands failed-write records over, many at once and in their order, and never loses one without saying so. */
import type { FailedWrite } from '../../workflows/messages.js';

/** Where failed-write records go. */
export interface RecordSink {
  /**
   * Resolves when all records are durable; rejects when that is not certain for at least one. Retrying is the sink's business.
   * Called again only after the last call ended, so records of one key keep their order.
   */
  publish(records: readonly FailedWrite[]): Promise<void>;
}

/** Failed writes that no one but the receiver of this error knows of: `records` is the last chance to keep them. */
export class RecordsLostError extends Error {
  override readonly name = 'RecordsLostError';
  readonly records: readonly FailedWrite[];

  constructor(records: readonly FailedWrite[], cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(`${records.length} failed writes were not recorded, so nothing will repair their keys: ${reason}`, { cause });
    this.records = records;
  }
}

export class Publisher {
  readonly #sink: RecordSink;
  readonly #onError: (error: RecordsLostError) => void;
  #waiting: FailedWrite[] = [];
  #publishing: readonly FailedWrite[] = [];
  #run: Promise<void> | undefined;
  #published = 0;
  #lost = 0;

  constructor(sink: RecordSink, onError: (error: RecordsLostError) => void) {
    this.#sink = sink;
    this.#onError = onError;
  }

  /** Records handed over so far. */
  get published(): number {
    return this.#published;
  }

  /** Records that the sink failed to take. */
  get lost(): number {
    return this.#lost;
  }

  /** Records not handed over yet. */
  get pending(): readonly FailedWrite[] {
    return [...this.#publishing, ...this.#waiting];
  }

  add(records: readonly FailedWrite[]): void {
    if (records.length === 0) return;
    this.#waiting.push(...records);
    this.#run ??= this.#publishAll();
  }

  /** Resolves when nothing is pending. */
  async idle(): Promise<void> {
    while (this.#run !== undefined) await this.#run;
  }

  async #publishAll(): Promise<void> {
    // A broken connection fails many writes in the same turn of the event loop: they go as one.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#publishing = batch;
      this.#waiting = [];
      try {
        await this.#sink.publish(batch);
        this.#published += batch.length;
      } catch (error) {
        this.#lost += batch.length;
        // Outside of this loop: a handler that throws must end in the open, not stop the records behind.
        queueMicrotask(() => this.#onError(new RecordsLostError(batch, error)));
      }
      this.#publishing = [];
    }
    this.#run = undefined;
  }
}
