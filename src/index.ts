/**
 * What an application imports: all that `@keymend/dual-writer` has, where Temporal may come along.
 * The messages of the workflow are under `keymend/messages`.
 */

export * from './dual-write/index.js';
export { traceFailedWrites } from './dual-write/tracing.js';
export { createKafkaRecordSink, type KafkaRecordSink, type KafkaRecordSinkOptions } from './kafka/record-sink.js';
export { type VerifyOptions, verifyWebhook } from './webhook/signature.js';
