/**
 * Where failed writes come from and where dead letters go, as `intake` of the configuration says.
 * The one place that tells intakes apart: a further one is one more object like these two.
 */
import type { Logger } from 'pino';
import type { Config, KafkaIntakeConfig, StreamIntakeConfig } from '../config.js';
import type { DeadLetters } from '../events/dead-letters.js';
import type { Intake } from '../events/intake.js';
import { checkKafka } from '../kafka/check.js';
import { createKafka } from '../kafka/client.js';
import { connectDeadLetters } from '../kafka/dead-letters.js';
import { readersOfTopic } from '../kafka/readers.js';
import { createLinkDeadLetters } from '../outbox/dead-letters.js';
import { readersOfOutboxes } from '../outbox/readers.js';
import type { Forwarded, Forwarding } from './forwarder.js';
import { startFromKafka } from './from-kafka.js';
import { startFromOutboxes } from './from-outboxes.js';
import { startRelay } from './relay.js';

interface ConfiguredIntake {
  /** What the bridge reads, as fields of a log line. */
  readonly reads: Readonly<Record<string, string>>;
  /** The service that it needs besides the Redis of the links, for a person; null: none. */
  readonly service: string | null;
  /** What the dead letters are in. */
  readonly deadLetters: DeadLetters['kind'];
  /** Makes sure that its service can be used. @throws Error in one line */
  check(logger: Logger): Promise<void>;
  /**
   * How many bridges read it now; null: that can't be seen yet.
   * @throws Error in one line
   */
  countReaders(logger: Logger): Promise<number | null>;
  /** Hands what it reads to a forwarder. @throws Error in one line when it can't be read at all */
  start(forwarding: Forwarding): Promise<Forwarded>;
  /**
   * Starts what must run beside it, so that records which took another way get there; null: nothing
   * must.
   */
  startRelay(logger: Logger): Intake | null;
  /** For the letters of workers. */
  connectDeadLetters(logger: Logger): Promise<DeadLetters>;
}

export function intakeOf(config: Config): ConfiguredIntake {
  return config.intake === 'kafka' ? kafkaIntake(config) : outboxIntake(config);
}

function kafkaIntake(config: KafkaIntakeConfig): ConfiguredIntake {
  const { kafka } = config;
  const { topic, groupId, brokers } = kafka;
  return {
    reads: { topic, groupId },
    service: `Kafka at ${brokers.join(', ')}`,
    deadLetters: 'topic',
    check: (logger) => checkKafka(kafka, logger),
    countReaders: (logger) => readersOfTopic(kafka, logger),
    start: (forwarding) => startFromKafka(kafka, forwarding),
    startRelay: (logger) => startRelay(config, logger),
    connectDeadLetters: (logger) => connectDeadLetters(createKafka(kafka, logger), kafka.deadLetterTopic),
  };
}

function outboxIntake(config: StreamIntakeConfig): ConfiguredIntake {
  const { key: stream, groupId } = config.stream;
  return {
    reads: { stream, groupId },
    service: null,
    deadLetters: 'stream',
    check: async () => {},
    countReaders: () => readersOfOutboxes(config.links, config.stream),
    start: (forwarding) => startFromOutboxes(config, forwarding),
    // What is in the outbox is read there.
    startRelay: () => null,
    connectDeadLetters: async (logger) => createLinkDeadLetters(config, (line) => logger.warn(line)),
  };
}
