/**
 * What a producer of failed-write records gives them to: Kafka and the outbox are two, an
 * application may have its own.
 */
import type { FailedWrite } from '../../workflows/failed-write.js';

/** Some of the records can't be taken, however often one asks; all others are durable. */
export class RecordsRefusedError extends Error {
  override readonly name = 'RecordsRefusedError';

  /** @param records those of the call that were refused, the same objects */
  constructor(
    message: string,
    readonly records: readonly FailedWrite[],
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Where failed-write records go. */
export interface RecordSink {
  /**
   * Resolves when all records are durable; rejects when that is not certain for at least one. With
   * a `RecordsRefusedError` it says for which: all others are durable.
   * Retrying is the sink's business. Called again only after the last call ended, so records of one
   * key keep their order.
   */
  publish(records: readonly FailedWrite[]): Promise<void>;
}
