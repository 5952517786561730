/**
 * What is looked at beside the reading: who else is in the group, and what the topic has lost.
 */
import { setMaxListeners } from 'node:events';
import type { Consumer, Kafka } from 'kafkajs';
import type { Logger } from 'pino';
import type { NoticedGap } from '../../workflows/gap-messages.js';
import type { KafkaConfig } from '../config.js';
import { lookOut } from '../patience/lookout.js';
import type { Assignment } from './assignment.js';
import { kafkaErrorMessage } from './client.js';
import { strangersTold } from './group.js';
import { TopicWatch } from './topic-watch.js';

export interface LookAroundOptions {
  readonly kafka: Kafka;
  readonly config: KafkaConfig;
  readonly logger: Logger;
  /** Told of what is lost before it goes on; resolves when that is kept, or when aborted. */
  readonly onGap: (gap: NoticedGap, signal: AbortSignal) => Promise<void>;
  /** How often it looks at the group and the topic, in ms. */
  readonly lookEveryMs?: number;
}

const LOOK_EVERY_MS = 10_000;

interface LookAround {
  readonly topic: TopicWatch;
  /** Looks now instead of at the next time. */
  lookNow(): void;
  /** Before anything is read, so that what was lost meanwhile is told first. */
  begin(): Promise<void>;
  /** What waits for Temporal must not hold up a stop. */
  giveUp(): void;
  close(): Promise<void>;
}

/** Looks now and then, from now until it is closed. */
export function lookAround(options: LookAroundOptions, consumer: Consumer, assignment: Assignment): LookAround {
  const { kafka, config, logger, onGap, lookEveryMs = LOOK_EVERY_MS } = options;
  const admin = kafka.admin();
  const closing = new AbortController();
  // Each gap that waits for Temporal waits on it; Node warns past ten.
  setMaxListeners(0, closing.signal);
  const topic = new TopicWatch({
    kafka,
    admin,
    config,
    logger,
    onGap,
    closing: closing.signal,
    drop: () => assignment.renew(),
    seek(partition, offset) {
      // An offset of the topic as it was would stand for another record.
      assignment.renew();
      consumer.seek({ topic: config.topic, partition, offset });
    },
    async commit(partition, offset) {
      try {
        await consumer.commitOffsets([{ topic: config.topic, partition, offset }]);
      } catch (error) {
        // Most often a rebalance. Whoever reads on commits; until then a new bridge tells it again.
        logger.debug({ error: kafkaErrorMessage(error) }, `Kafka: ${config.topic} is not gone on with behind a gap`);
      }
    },
  });
  const tellStrangers = strangersTold(admin, config, logger);
  const lookout = lookOut(lookEveryMs, async () => {
    await tellStrangers();
    await topic.look();
  });
  return {
    topic,
    lookNow: lookout.now,
    async begin() {
      await admin.connect();
      await topic.look();
    },
    giveUp: () => closing.abort(),
    async close() {
      closing.abort();
      await lookout.stop();
      await topic.close();
      await admin.disconnect().catch(() => {});
    },
  };
}
