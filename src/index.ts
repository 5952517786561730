/** What an application imports. The messages of the workflow are under `keymend/messages`. */
export {
  type BreakerChange,
  type CloseReport,
  createDualWriter,
  type DualWriter,
  type DualWriterOptions,
  type DualWriterStats,
} from './dual-write/dual-writer.js';
export {
  createKafkaRecordSink,
  type KafkaRecordSink,
  type KafkaRecordSinkOptions,
} from './dual-write/kafka-record-sink.js';
export { mirrorClusterOptions, mirrorOptions } from './dual-write/mirror.js';
export { type Bounds, UnrecordedWriteError } from './dual-write/options.js';
export {
  createOutbox,
  type Outbox,
  OutboxFullError,
  type OutboxOptions,
  OutboxUnavailableError,
} from './dual-write/outbox.js';
export { type RecordSink, RecordsLostError } from './dual-write/publisher.js';
export { decodeFailedWrite, encodeFailedWrite, encodeKey, keyBytes } from './events/failed-write.js';
