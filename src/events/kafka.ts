/** The connection to Kafka: the client with its logs, and the producer of dead-letter records. */
import {
  CompressionTypes,
  Kafka,
  type LogEntry,
  logLevel,
  type Message,
  Partitioners,
  type RetryOptions,
  type SASLOptions,
} from 'kafkajs';
import type { Logger } from 'pino';
import type { KafkaConfig } from '../config.js';

/** kafkajs would pause for up to 30 s; a broker is usually back sooner. */
const RETRY: RetryOptions = { retries: 5, initialRetryTime: 300, maxRetryTime: 3_000 };

/** Nothing happens before a producer, consumer or admin of it connects. */
export function createKafka({ brokers, ssl, sasl }: KafkaConfig, logger: Logger, retry = RETRY): Kafka {
  return new Kafka({
    clientId: 'keymend',
    brokers: [...brokers],
    ssl,
    connectionTimeout: 3_000,
    ...(sasl && { sasl: { ...sasl } as SASLOptions }),
    retry,
    logLevel: logLevel.INFO,
    logCreator: () => logTo(logger),
  });
}

export interface DeadLetters {
  /** What it is, in messages. */
  readonly kind: 'topic' | 'stream';
  /**
   * Resolves when the topic (or the stream that stands for one) has acknowledged the record. A retry after a lost acknowledgement may publish it twice.
   * @throws DeadLetterRefused when it does not take the record as it is; any other error is passing
   */
  publish(message: Message): Promise<void>;
  close(): Promise<void>;
}

/** The topic or stream refuses this record until an operator raises a limit or makes room. The message is one line saying how. */
export class DeadLetterRefused extends Error {
  override readonly name = 'DeadLetterRefused';
}

/** Connects a producer for `topic`. Throws kafkajs errors when no broker answers. */
export async function connectDeadLetters(kafka: Kafka, topic: string): Promise<DeadLetters> {
  const producer = kafka.producer({
    allowAutoTopicCreation: false,
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();

  /** Kafka refuses some records as they are; what can be published in another way is. */
  async function publish(message: Message, compression: CompressionTypes): Promise<void> {
    try {
      await producer.send({ topic, messages: [message], acks: -1, compression });
    } catch (error) {
      const type = kafkaErrorType(error);
      if (type === 'INVALID_TIMESTAMP' && message.timestamp !== undefined) {
        // The topic takes no time that far from its clock; the header dlq.original.timestamp still has it.
        const { timestamp: _timestamp, ...now } = message;
        return publish(now, compression);
      }
      if (type !== 'MESSAGE_TOO_LARGE') throw error;
      if (compression === CompressionTypes.None) return publish(message, CompressionTypes.GZIP);
      throw refused(topic, message, error);
    }
  }

  return {
    kind: 'topic',
    publish: (message) => publish(message, CompressionTypes.None),
    close: () => producer.disconnect(),
  };
}

/** The message of a kafkajs error without the names of the errors it is wrapped in. */
export function kafkaErrorMessage(error: unknown): string {
  return error instanceof Error ? error.message.replace(/^(Error|KafkaJS\w+): /, '') : String(error);
}

/** The Kafka protocol's name of an error, such as MESSAGE_TOO_LARGE, wherever it is in the chain of causes. */
export function kafkaErrorType(error: unknown): string | undefined {
  for (let current = error; current instanceof Error; current = current.cause) {
    if ('type' in current && typeof current.type === 'string') return current.type;
  }
  return undefined;
}

/**
 * kafkajs reports every single attempt as an error, up to several a second; whatever matters of that reaches its callers as an
 * exception or an event, and they report it once. What no caller hears of is a consumer whose offset is gone.
 */
function logTo(logger: Logger): (entry: LogEntry) => void {
  return ({ namespace, level, log: { message, topic, partition, broker, groupId, error } }) => {
    const fields = { namespace, topic, partition, broker, groupId, error };
    if (namespace === 'ConsumerGroup' && level === logLevel.ERROR) logger.error(fields, `Kafka: ${message}`);
    else logger.debug(fields, `Kafka: ${message}`);
  };
}

function refused(topic: string, { key, value }: Message, error: unknown): DeadLetterRefused {
  const bytes = Buffer.byteLength(key ?? '') + Buffer.byteLength(value ?? '');
  return new DeadLetterRefused(
    `the topic ${topic} refuses a record of ${bytes} bytes (${kafkaErrorMessage(error)}); raise its limit: kafka-configs.sh ` +
      `--alter --entity-type topics --entity-name ${topic} --add-config max.message.bytes=${bytes + 65_536}`,
    { cause: error },
  );
}
