/** Dead letters to a Kafka topic. */
import { CompressionTypes, type Kafka, Partitioners } from 'kafkajs';
import type { DeadLetter } from '../events/dead-letter.js';
import { DeadLetterRefused, type DeadLetters } from '../events/dead-letters.js';
import { kafkaErrorMessage, kafkaErrorType } from './client.js';

/** What a broker answers to this one record, however often it gets it. */
const REFUSALS: ReadonlySet<string> = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_RECORD']);

/** Connects a producer for `topic`. Throws kafkajs errors when no broker answers. */
export async function connectDeadLetters(kafka: Kafka, topic: string): Promise<DeadLetters> {
  const producer = kafka.producer({
    allowAutoTopicCreation: false,
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();

  /** Kafka refuses some records as they are; what can be published in another way is. */
  async function publish(letter: DeadLetter, compression: CompressionTypes): Promise<void> {
    try {
      await producer.send({ topic, messages: [letter], acks: -1, compression });
    } catch (error) {
      const type = kafkaErrorType(error);
      if (type === 'INVALID_TIMESTAMP' && letter.timestamp !== undefined) {
        // The topic takes no time that far from its clock; the header dlq.original.timestamp still
        // has it.
        const { timestamp: _timestamp, ...now } = letter;
        return publish(now, compression);
      }
      if (type === undefined || !REFUSALS.has(type)) throw error;
      if (type !== 'INVALID_RECORD' && compression === CompressionTypes.None)
        return publish(letter, CompressionTypes.GZIP);
      throw refused(topic, letter, error);
    }
  }

  return {
    kind: 'topic',
    publish: (letter) => publish(letter, CompressionTypes.None),
    close: () => producer.disconnect(),
  };
}

/**
 * As `connectDeadLetters`, but connects with the first letter: for those who hardly ever have one.
 */
export function lazyDeadLetters(kafka: Kafka, topic: string): DeadLetters {
  let connecting: Promise<DeadLetters> | undefined;
  return {
    kind: 'topic',
    async publish(letter) {
      connecting ??= connectDeadLetters(kafka, topic).catch((error: unknown) => {
        connecting = undefined;
        throw error;
      });
      await (await connecting).publish(letter);
    },
    async close() {
      await (await connecting?.catch(() => undefined))?.close();
    },
  };
}

function refused(topic: string, { key, value }: DeadLetter, error: unknown): DeadLetterRefused {
  const bytes = Buffer.byteLength(key ?? '') + Buffer.byteLength(value ?? '');
  return new DeadLetterRefused(
    'letter',
    `the topic ${topic} refuses a record of ${bytes} bytes (${kafkaErrorMessage(error)}); raise its limit: kafka-configs.sh ` +
      `--alter --entity-type topics --entity-name ${topic} --add-config max.message.bytes=${bytes + 65_536}`,
    { cause: error },
  );
}
