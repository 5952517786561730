/**
 * Where failed writes come from and where dead letters go, as `intake` of the configuration says.
 * The one place that tells intakes apart: a further one is one more object like these two. What an
 * intake needs is loaded when it is asked for: the verbs that only look must not wait for it.
 */
import type { Logger } from 'pino';
import type { Config, KafkaIntakeConfig, StreamIntakeConfig } from '../config.js';
import type { DeadLetters } from '../events/dead-letters.js';
import type { Intake } from '../events/intake.js';
import type { TopicBacklog } from '../kafka/backlog.js';
import type { Process } from '../kafka/rights.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Forwarded, Forwarding } from './forwarder.js';
import type { Gaps } from './gaps.js';

interface ConfiguredIntake {
  /** What the bridge reads, as fields of a log line. */
  readonly reads: Readonly<Record<string, string>>;
  /** The service that it needs besides the Redis of the links, for a person; null: none. */
  readonly service: string | null;
  /** What the dead letters are in. */
  readonly deadLetters: DeadLetters['kind'];
  /**
   * Makes sure that its service can be used.
   * @param processes those that use it; by default all
   * @throws Error in one line
   */
  check(logger: Logger, processes?: readonly Process[]): Promise<void>;
  /**
   * The release of each bridge that reads it now, null: it does not say; or null: that can't be
   * seen yet.
   * @throws Error in one line
   */
  readers(logger: Logger): Promise<readonly (string | null)[] | null>;
  /**
   * How many bridges can read at once; null: any number.
   * @throws Error in one line
   */
  partitions(logger: Logger): Promise<number> | null;
  /** What waits in the log beside the outboxes; null: it is the outboxes. Never rejects. */
  backlog(logger: Logger): Promise<TopicBacklog> | null;
  /** Hands what it reads to a forwarder. @throws Error in one line when it can't be read at all */
  start(forwarding: Forwarding): Promise<Forwarded>;
  /**
   * Starts what must run beside it, so that records which took another way get there; null: nothing
   * must.
   */
  startRelay(logger: Logger, gaps: Gaps, metrics: Metrics): Promise<Intake | null>;
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
    check: async (logger, processes) => (await import('../kafka/check.js')).checkKafka(kafka, logger, processes),
    readers: async (logger) => (await import('../kafka/readers.js')).readersOfTopic(kafka, logger),
    partitions: async (logger) => (await import('../kafka/readers.js')).partitionsOfTopic(kafka, logger),
    backlog: async (logger) => (await import('../kafka/backlog.js')).topicBacklog(kafka, logger),
    start: async (forwarding) => (await import('./from-kafka.js')).startFromKafka(kafka, forwarding),
    startRelay: async (logger, gaps, metrics) => (await import('./relay.js')).startRelay(config, logger, gaps, metrics),
    connectDeadLetters: async (logger) => {
      const client = (await import('../kafka/client.js')).createKafka(kafka, logger);
      return (await import('../kafka/dead-letters.js')).connectDeadLetters(client, kafka.deadLetterTopic);
    },
  };
}

function outboxIntake(config: StreamIntakeConfig): ConfiguredIntake {
  const { key: stream, groupId } = config.stream;
  return {
    reads: { stream, groupId },
    service: null,
    deadLetters: 'stream',
    check: async () => {},
    readers: async () => (await import('../outbox/readers.js')).readersOfOutboxes(config.links, config.stream),
    partitions: () => null,
    backlog: () => null,
    start: async (forwarding) => (await import('./from-outboxes.js')).startFromOutboxes(config, forwarding),
    // What is in the outbox is read there.
    startRelay: async () => null,
    connectDeadLetters: async (logger) =>
      (await import('../outbox/dead-letters.js')).createLinkDeadLetters(config, (line) => logger.warn(line)),
  };
}
