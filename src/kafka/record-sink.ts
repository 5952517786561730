/**
 * Failed-write records to Kafka: acknowledged by all replicas, idempotent, one partition per key.
 */
import { Kafka, type KafkaConfig, logLevel } from 'kafkajs';
import type { FailedWrite } from '../../workflows/failed-write.js';
import { encodeFailedWrite, keyBytes } from '../events/failed-write-codec.js';
import { type RecordSink, RecordsRefusedError } from '../events/record-sink.js';
import { untilDeadline } from '../patience/until-deadline.js';
import { sendingApart } from './apart.js';
import { inBatches, isTooLarge, sendInFittingParts } from './batches.js';
import { explainDenied, isDenied, kafkaErrorType } from './client.js';
import { createOrderedProducer } from './ordered-producer.js';

export interface KafkaRecordSinkOptions {
  /** How to reach Kafka, as kafkajs takes it. */
  readonly kafka: KafkaConfig;
  readonly topic: string;
  /**
   * How long `publish` goes on trying while Kafka can't be reached or does not take the records, in
   * ms; the last try may end later. Default 60,000.
   */
  readonly timeoutMs?: number;
}

export interface KafkaRecordSink extends RecordSink {
  /**
   * Resolves when Kafka has all records. They can be there twice, with the same ids, when an
   * acknowledgement was lost. What is too large for the topic is split; when one record is, all
   * others are published nevertheless.
   * @throws RecordsRefusedError with those that are too large; Error in one line: which topic,
   *   where, why; `cause` is that of kafkajs
   */
  publish(records: readonly FailedWrite[]): Promise<void>;
  /**
   * Connects now instead of at the first record, and tries only for a moment, so that a wrong
   * address shows at the start.
   */
  connect(): Promise<void>;
  /** Disconnects, and ends a `publish` that still tries. Close the DualWriter first. */
  close(): Promise<void>;
}

/** Between the tries of one call. */
const PAUSES = { firstMs: 100, longestMs: 2_000 };
/**
 * Of one try, for what passes in a moment, such as a change of leaders. The patience for more is
 * the sink's: while no broker can be reached kafkajs has none, whatever its options say of sending.
 */
const ONE_TRY = { initialRetryTime: 100, retries: 2 };
/** What Kafka answers however often one asks. */
const REFUSALS = new Set(['INVALID_TOPIC_EXCEPTION', 'POLICY_VIOLATION']);

export function createKafkaRecordSink({ kafka, topic, timeoutMs = 60_000 }: KafkaRecordSinkOptions): KafkaRecordSink {
  const client = new Kafka({
    clientId: 'keymend-dual-writer',
    retry: ONE_TRY,
    requestTimeout: 10_000,
    // What finally fails is thrown; its attempts are not for the application's stdout.
    logLevel: logLevel.NOTHING,
    ...kafka,
  });
  const producer = createOrderedProducer(client, topic, ONE_TRY);
  let closed = false;

  async function tryUntil(deadline: number, work: () => Promise<void>): Promise<void> {
    const attempt = async () => {
      try {
        await work();
        return null;
      } catch (error) {
        const place = `Kafka topic ${topic} at ${String(kafka.brokers)}`;
        const failure = new Error(`${place}: ${explainDenied(error, 'WRITE', 'topic', topic)}`, { cause: error });
        if (isTooLarge(error) || isDenied(error) || REFUSALS.has(kafkaErrorType(error) ?? '')) throw failure;
        return failure;
      }
    };
    await untilDeadline(attempt, { deadline, pauses: PAUSES, isClosed: () => closed });
  }

  return {
    connect: () => tryUntil(0, producer.connect),
    async publish(records) {
      const deadline = performance.now() + timeoutMs;
      const batches = inBatches(messagesOf(records), (message) => message);
      const sending = sendingApart<Outgoing>({ producer, messageOf: (message) => message });
      const refused: FailedWrite[] = [];
      let refusal: Error | undefined;
      for (const messages of batches) {
        await sendInFittingParts(
          messages,
          (part) => tryUntil(deadline, sending(part)),
          // The others shall not wait for it.
          async ({ record }, error) => {
            refused.push(record);
            refusal = error as Error;
          },
        );
      }
      if (refusal) throw new RecordsRefusedError(refusal.message, refused, { cause: refusal.cause });
    },
    async close() {
      closed = true;
      await producer.close();
    },
  };
}

/** One by one, as they are asked for: what waits for Kafka need not be there twice. */
function* messagesOf(records: readonly FailedWrite[]) {
  for (const record of records) yield toMessage(record);
}

type Outgoing = ReturnType<typeof toMessage>;

function toMessage(record: FailedWrite) {
  const { key, encoding = 'utf8', traceparent } = record;
  const headers = traceparent === undefined ? {} : { headers: { traceparent } };
  return { key: keyBytes({ key, encoding }), value: encodeFailedWrite(record), ...headers, record };
}
