/**
 * What a producer of failed-write records gives them to: Kafka and the outbox are two, an
 * application may have its own.
 */
import type { FailedWrite } from '../../workflows/messages.js';

/** Where failed-write records go. */
export interface RecordSink {
  /**
   * Resolves when all records are durable; rejects when that is not certain for at least one.
   * Retrying is the sink's business. Called again only after the last call ended, so records of one
   * key keep their order.
   */
  publish(records: readonly FailedWrite[]): Promise<void>;
}
