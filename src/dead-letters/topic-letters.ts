/**
 * Dead letters in a Kafka topic. A topic forgets no single record, so that one is resolved is said
 * by another record behind it, in the same partition: its header `dlq.resolves` has the offsets. A
 * letter that is put back is such a record itself, so it is there and the old ones are not, or the
 * other way round, and never both. Of several that resolve the same letters the first counts.
 * docs/decisions/0018-dead-letters.md
 */
import type { Logger } from 'pino';
import type { Offsets } from '../../workflows/redrive-messages.js';
import type { KafkaConfig } from '../config.js';
import type { DeadLetter } from '../events/dead-letter.js';
import { DeadLetterRefused } from '../events/dead-letters.js';
import type { IntakeRecord } from '../events/intake.js';
import { createKafka, explainDenied, kafkaErrorMessage } from '../kafka/client.js';
import { lazyDeadLetters } from '../kafka/dead-letters.js';
import { topicIds } from '../kafka/protocol/topic-id.js';
import { createTopicReader } from '../kafka/topic-reader.js';
import { headerText, type Letter, letterOf, REDRIVE_ID, RESOLVES } from './letter.js';
import { writeRanges } from './offset-set.js';
import { ResolvedOffsets } from './resolved-offsets.js';
import { type Closing, type LetterStore, oldestFirst } from './store.js';

/** Headers of them are about so long. */
const BYTES_OF_A_LETTER = 2 * 1024;
const LEAST_PAGE_BYTES = 64 * 1024;
const PAGE_BYTES = 1024 * 1024;

/** Connects with the first use. */
export function openTopicLetters(config: KafkaConfig, logger: Logger): LetterStore {
  const { deadLetterTopic: topic } = config;
  const kafka = createKafka(config, logger);
  const reader = createTopicReader(kafka, topic);
  const publishing = lazyDeadLetters(kafka, topic);
  const ids = topicIds(kafka);
  const resolved = new ResolvedOffsets(reader, () => ids.idOf(topic));

  async function* lettersOf(partition: number, from: bigint, until: bigint, bytes: number): AsyncGenerator<Letter> {
    for await (const { records } of reader.pages(partition, from, until, bytes)) {
      for (const record of records)
        if (isLetter(record) && !resolved.has(partition, record.position.offset))
          yield letterOf(String(partition), record, record.appendedAt);
    }
  }

  async function send(closing: Closing): Promise<void> {
    try {
      await publishing.publish(resolving(closing));
    } catch (error) {
      if (!(error instanceof DeadLetterRefused)) throw error;
      // It stays as it was: better too often than not at all.
      const { part, offsets } = closing;
      logger.error({ letters: offsets.length }, `letter ${part}/${offsets[0]} stays as it was: ${error.message}`);
    }
  }

  return {
    name: `the topic ${topic}`,

    async id() {
      try {
        return await ids.idOf(topic);
      } catch (error) {
        throw new Error(`the topic ${topic} can't be read: ${kafkaErrorMessage(error)}`, { cause: error });
      }
    },

    async ends() {
      const ranges = await reader.ranges();
      return Object.fromEntries(
        [...ranges]
          .filter(([, { low, high }]) => high > low)
          .map(([partition, { high }]) => [partition, `${high - 1n}`]),
      );
    },

    async *letters({ passed = {}, ends, about = Number.POSITIVE_INFINITY }) {
      const ranges = await resolved.look();
      const bytes = Math.min(PAGE_BYTES, Math.max(LEAST_PAGE_BYTES, about * BYTES_OF_A_LETTER));
      const parts = [...ranges].map(([partition, { low, high }]) => {
        const behind = behindOf(passed, partition);
        const end = ends === undefined ? high : behindOf(ends, partition);
        return lettersOf(partition, larger(behind, low), smaller(end, high), bytes);
      });
      yield* oldestFirst(parts);
    },

    async close(closings) {
      await resolved.look();
      const open = closings.flatMap((closing) => {
        const offsets = closing.offsets.filter((offset) => !resolved.has(Number(closing.part), offset));
        return offsets.length === 0 ? [] : [{ ...closing, offsets }];
      });
      try {
        for (const closing of open) await send(closing);
      } catch (error) {
        const reason = explainDenied(error, 'WRITE', 'topic', topic);
        throw new Error(`the topic ${topic} does not take what resolves its letters: ${reason}`, { cause: error });
      }
    },

    async disconnect() {
      await Promise.all([reader.close(), ids.close(), publishing.close()]);
    },
  };
}

/** What says that letters are resolved: the one that takes their place, or a record of its own. */
function resolving({ part, offsets, putBack, note }: Closing): DeadLetter {
  const headers = { ...putBack?.headers, ...note, [RESOLVES]: writeRanges(offsets.map(BigInt)) };
  // A key of its own, so that a topic that is compacted keeps it.
  const key = Buffer.from(`${note[REDRIVE_ID]}/${part}/${offsets[0]}`);
  return { ...(putBack ?? { key, value: Buffer.from(JSON.stringify(note)) }), headers, partition: Number(part) };
}

/** Behind the offset of this part; 0: it has none. */
function behindOf(offsets: Offsets, partition: number): bigint {
  const offset = offsets[partition];
  return offset === undefined ? 0n : BigInt(offset) + 1n;
}

/** Not one that only says what is resolved. */
function isLetter(record: IntakeRecord): boolean {
  return headerText(record, RESOLVES) === undefined || headerText(record, 'dlq.reason') !== undefined;
}

function larger(one: bigint, other: bigint): bigint {
  return one > other ? one : other;
}

function smaller(one: bigint, other: bigint): bigint {
  return one < other ? one : other;
}
