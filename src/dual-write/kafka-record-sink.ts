/** Failed-write records to Kafka: acknowledged by all replicas, idempotent, one partition per key. */
import {
  Kafka,
  type KafkaConfig,
  logLevel,
  type Message,
  Partitioners,
  type Producer,
  type RetryOptions,
} from 'kafkajs';
import type { FailedWrite } from '../../workflows/messages.js';
import { encodeFailedWrite, keyBytes } from '../events/failed-write.js';
import type { RecordSink } from './publisher.js';

export interface KafkaRecordSinkOptions {
  /** How to reach Kafka, as kafkajs takes it. */
  readonly kafka: KafkaConfig;
  readonly topic: string;
  /** How often and how patiently kafkajs tries before `publish` fails. By default for about a minute. */
  readonly retry?: RetryOptions;
}

export interface KafkaRecordSink extends RecordSink {
  /** Connects now instead of at the first record, so that a wrong address shows at the start. */
  connect(): Promise<void>;
  /** Disconnects. Close the DualWriter first. */
  close(): Promise<void>;
}

const PATIENCE: RetryOptions = { initialRetryTime: 300, maxRetryTime: 10_000, retries: 10 };
/** Half of what a broker takes in one batch by default. */
const MAX_SEND_BYTES = 512 * 1024;

export function createKafkaRecordSink({ kafka, topic, retry = PATIENCE }: KafkaRecordSinkOptions): KafkaRecordSink {
  let producer: Promise<Producer> | undefined;

  async function connect(): Promise<Producer> {
    const client = new Kafka({
      clientId: 'keymend-dual-writer',
      // Every attempt of the producer makes its own few attempts to connect, so that both together stay bounded.
      retry: { initialRetryTime: 100, retries: 2 },
      requestTimeout: 10_000,
      // What finally fails is thrown; its attempts are not for the application's stdout.
      logLevel: logLevel.NOTHING,
      ...kafka,
    });
    const created = client.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: Partitioners.DefaultPartitioner,
      retry,
    });
    await created.connect();
    return created;
  }

  async function attempt(work: (producer: Producer) => Promise<void>): Promise<void> {
    producer ??= connect();
    const used = producer;
    try {
      await work(await used);
    } catch (error) {
      // After a final failure kafkajs gives the next batch the sequence numbers of this one. Had this one arrived after all,
      // the broker would take the next for its repetition and drop it: so a new producer, which gets an identity of its own.
      if (producer === used) producer = undefined;
      await used.then((broken) => broken.disconnect()).catch(() => {});
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`Kafka topic ${topic} at ${String(kafka.brokers)}: ${reason}`, { cause: error });
    }
  }

  return {
    connect: () => attempt(async () => {}),
    publish: (records) =>
      attempt(async (connected) => {
        for (const messages of batches(records)) await connected.send({ topic, acks: -1, messages });
      }),
    async close() {
      const last = producer;
      producer = undefined;
      await last?.then((connected) => connected.disconnect());
    },
  };
}

function* batches(records: readonly FailedWrite[]): Generator<Message[]> {
  let messages: Message[] = [];
  let bytes = 0;
  for (const record of records) {
    const key = keyBytes({ key: record.key, encoding: record.encoding ?? 'utf8' });
    const value = encodeFailedWrite(record);
    if (messages.length > 0 && bytes + key.length + value.length > MAX_SEND_BYTES) {
      yield messages;
      messages = [];
      bytes = 0;
    }
    messages.push({ key, value });
    bytes += key.length + value.length;
  }
  if (messages.length > 0) yield messages;
}
