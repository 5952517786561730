/** What an application imports. The messages of the workflow are under `keymend/messages`. */

export {
  type BreakerChange,
  type CloseReport,
  createDualWriter,
  type DualWriter,
  type DualWriterOptions,
  type DualWriterStats,
  type MarksChange,
  type SourceProblem,
} from './dual-write/dual-writer.js';
export { type Bounds, UnrecordedWriteError } from './dual-write/options.js';
export { RecordsLostError } from './dual-write/records/publisher.js';
export { mirrorClusterOptions, mirrorOptions } from './dual-write/target/mirror-options.js';
export { decodeFailedWrite, encodeFailedWrite, encodeKey, keyBytes } from './events/failed-write-codec.js';
export { type RecordSink, RecordsRefusedError } from './events/record-sink.js';
export { createKafkaRecordSink, type KafkaRecordSink, type KafkaRecordSinkOptions } from './kafka/record-sink.js';
export {
  createOutbox,
  type Outbox,
  OutboxFullError,
  type OutboxOptions,
  OutboxUnavailableError,
} from './outbox/record-sink.js';
