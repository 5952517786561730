/**
 * What an application imports as `@keymend/dual-writer`. The Kafka sink, which needs kafkajs, is
 * `@keymend/dual-writer/kafka`.
 */

export type { FailedWrite } from '../../workflows/failed-write.js';
export { decodeFailedWrite, encodeFailedWrite, encodeKey, keyBytes } from '../events/failed-write-codec.js';
export { type RecordSink, RecordsRefusedError } from '../events/record-sink.js';
export {
  createOutbox,
  type Outbox,
  OutboxFullError,
  type OutboxOptions,
  OutboxUnavailableError,
} from '../outbox/record-sink.js';
export {
  type BreakerChange,
  type CloseReport,
  createDualWriter,
  type DualWriter,
  type DualWriterOptions,
  type DualWriterStats,
  type MarksChange,
  type SourceProblem,
} from './dual-writer.js';
export { type Bounds, UnrecordedWriteError } from './options.js';
export { prometheusText } from './prometheus-text.js';
export { RecordsLostError } from './records/publisher.js';
export type { WriteTracing } from './records/to-records.js';
export { mirrorClusterOptions, mirrorOptions } from './target/mirror-options.js';
