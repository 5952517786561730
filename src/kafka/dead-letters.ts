/** Dead letters to a Kafka topic. */
import { CompressionTypes, type Kafka, Partitioners } from 'kafkajs';
import { type DeadLetter, LETTER_ID } from '../events/dead-letter.js';
import { DeadLetterRefused, type DeadLetters, type EarlierTry } from '../events/dead-letters.js';
import { alterTopic, isDenied, kafkaErrorMessage, kafkaErrorType } from './client.js';
import { fittingHeaders } from './headers.js';
import { LetterSearch } from './letter-search.js';

/** What a broker answers to this one record, however often it gets it. */
const REFUSALS: ReadonlySet<string> = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_RECORD']);

/** Connects a producer for `topic`. Throws kafkajs errors when no broker answers. */
export async function connectDeadLetters(kafka: Kafka, topic: string): Promise<DeadLetters> {
  const options = { allowAutoTopicCreation: false, createPartitioner: Partitioners.DefaultPartitioner };
  const producer = kafka.producer(options);
  // Of a letter with a name it is looked, before each try behind the first, whether it is there.
  const once = kafka.producer({ ...options, retry: { retries: 0 } });
  const search = new LetterSearch(kafka, topic);
  await Promise.all([producer.connect(), once.connect()]);

  /** Kafka refuses some records as they are; what can be published in another way is. */
  async function publish(letter: DeadLetter, compression: CompressionTypes): Promise<void> {
    try {
      const used = letter.headers[LETTER_ID] === undefined ? producer : once;
      await used.send({
        topic,
        messages: [{ ...letter, headers: fittingHeaders(letter.headers) }],
        acks: -1,
        compression,
      });
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

  async function isThere(letter: DeadLetter, id: string, { behind }: EarlierTry): Promise<boolean> {
    try {
      return await search.has(letter.key, id, behind);
    } catch (error) {
      // Who may write there and not read can't look: better a letter twice than never.
      if (isDenied(error)) return false;
      throw error;
    }
  }

  return {
    kind: 'topic',
    async publish(letter, earlier) {
      const id = letter.headers[LETTER_ID];
      if (earlier !== undefined && id !== undefined && (await isThere(letter, String(id), earlier))) return;
      await publish(letter, CompressionTypes.None);
    },
    ends: () => search.ends(),
    async close() {
      await Promise.all([producer.disconnect(), once.disconnect(), search.close()]);
    },
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
    `the topic ${topic} refuses a record of ${bytes} bytes (${kafkaErrorMessage(error)}); raise its limit: ` +
      alterTopic(['HOST:PORT'], topic, `max.message.bytes=${bytes + 65_536}`),
    { cause: error },
  );
}
