/**
 * From outboxes to Kafka: what could not be published when it failed is published as soon as that
 * works again.
 */
import type { IHeaders, Message } from 'kafkajs';
import type { Logger } from 'pino';
import type { KafkaIntakeConfig } from '../config.js';
import { type DeadLetterCause, deadLetterOf } from '../events/dead-letter.js';
import { type DeadLetters, describeRefusal, publishWhatFits } from '../events/dead-letters.js';
import { decodeFailedWrite } from '../events/failed-write-codec.js';
import type { BatchHandler, Intake, IntakeBatch, IntakeRecord } from '../events/intake.js';
import { sendingApart } from '../kafka/apart.js';
import { inBatches, isTooLarge, sendInFittingParts } from '../kafka/batches.js';
import { createKafka, kafkaErrorMessage } from '../kafka/client.js';
import { lazyDeadLetters } from '../kafka/dead-letters.js';
import { fittingHeaders } from '../kafka/headers.js';
import { createOrderedProducer, type OrderedProducer } from '../kafka/ordered-producer.js';
import { createOutboxIntake } from '../outbox/intake.js';
import { outboxSources } from '../outbox/sources.js';
import { Outage } from '../patience/outage.js';
import { untilTaken } from '../patience/until-taken.js';
import { Metrics } from '../telemetry/metrics.js';
import type { Gaps } from './gaps.js';

/** The consumer group of all relays. */
export const RELAY_GROUP = 'keymend-relay';

/** A record of the outbox together with what it becomes in Kafka. */
interface Outgoing {
  readonly record: IntakeRecord;
  readonly message: Message & { readonly key: Buffer; readonly value: Buffer; readonly headers: IHeaders };
}

/**
 * Starts to relay the outbox of each source. Needs nothing to be reachable: a source or a Kafka
 * that is away is tried again, and Kafka is not connected before there is something for it.
 */
export function startRelay(config: KafkaIntakeConfig, logger: Logger, gaps: Gaps, metrics = new Metrics()): Intake {
  const kafka = createKafka(config.kafka, logger);
  const relays = outboxSources(config.links).map((source) => {
    const producer = oneAtATime(createOrderedProducer(kafka, config.kafka.topic));
    const deadLetters = lazyDeadLetters(kafka, config.kafka.deadLetterTopic);
    let telling: Promise<unknown> = Promise.resolve();
    const intake = createOutboxIntake({
      source,
      key: config.stream.key,
      group: RELAY_GROUP,
      handle: createRelayHandler({ producer, deadLetters, topic: config.kafka.topic, metrics, logger }),
      // Kafka is to get the records of a key in their order.
      putsAside: false,
      // Nobody waits for it: what comes meanwhile goes to Kafka, also while Temporal is away.
      onGap: async (gap, signal) => {
        telling = Promise.all([telling, gaps.open(gap, signal, source.links)]);
      },
      logger,
    });
    intake.start();
    const finished = intake.finished.finally(() => Promise.all([telling, producer.close(), deadLetters.close()]));
    return { stop: intake.stop, finished };
  });
  const finished = Promise.all(relays.map((relay) => relay.finished)).then(() => {});
  return {
    finished,
    async stop() {
      await Promise.all(relays.map((relay) => relay.stop()));
      await finished;
    },
  };
}

/**
 * The streams of a Cluster are read side by side. Each publishes in its turn, so that one producer
 * does for all.
 */
function oneAtATime(producer: OrderedProducer): OrderedProducer {
  let last: Promise<unknown> = Promise.resolve();
  return {
    ...producer,
    publish(messages) {
      const published = last.then(() => producer.publish(messages));
      last = published.catch(() => {});
      return published;
    },
  };
}

interface RelayHandlerOptions {
  readonly producer: OrderedProducer;
  readonly deadLetters: DeadLetters;
  readonly topic: string;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

function createRelayHandler({ producer, deadLetters, topic, metrics, logger }: RelayHandlerOptions): BatchHandler {
  const outage = new Outage(logger, `the topic ${topic} does not take what is in the outbox`);
  const deadLetterOutage = new Outage(logger, 'the dead-letter topic does not take records');

  async function deadLetter(record: IntakeRecord, failure: DeadLetterCause, batch: IntakeBatch): Promise<void> {
    const letter = deadLetterOf(record, failure);
    const publish = async () => {
      const refusal = await publishWhatFits(deadLetters, letter);
      if (refusal !== null) logger.error(describeRefusal(deadLetters, record.position, refusal));
    };
    const patience = { outage: deadLetterOutage, explain: kafkaErrorMessage, signal: batch.signal };
    if (!(await untilTaken(publish, patience))) return;
    const { topic: stream, offset } = record.position;
    logger.warn(
      { reason: failure.reason },
      `entry ${offset} of ${stream} went to the dead-letter topic (${failure.reason}): ${failure.error.message}`,
    );
    metrics.deadLettered(failure.reason);
    batch.accepted(record);
  }

  /** Until it is taken: that keeps the order of a key. */
  async function untilSent(publish: () => Promise<void>, batch: IntakeBatch): Promise<void> {
    let tooLarge: unknown;
    const attempt = async () => {
      try {
        await publish();
      } catch (error) {
        if (!isTooLarge(error)) throw error;
        tooLarge = error;
      }
    };
    await untilTaken(attempt, { outage, explain: kafkaErrorMessage, signal: batch.signal });
    if (tooLarge !== undefined) throw tooLarge;
  }

  return async (batch) => {
    const outgoing: Outgoing[] = [];
    const unreadable: (() => Promise<void>)[] = [];
    for (const record of batch.records) {
      const decoded = decodeFailedWrite(record.value);
      if (decoded.ok) {
        // The record's own key, not the entry's: a producer that gets the latter wrong must not
        // send a key to two partitions.
        outgoing.push({ record, message: { key: decoded.key, value: record.value!, headers: kafkaHeaders(record) } });
      } else {
        const { reason, message } = decoded.problem;
        const error = { type: 'DecodeError', message };
        unreadable.push(() => deadLetter(record, { reason, stage: 'decode', error, attempts: 1 }, batch));
      }
    }
    const sending = sendingApart<Outgoing>({
      producer,
      messageOf: ({ message }) => message,
      onTaken: ({ record }) => batch.accepted(record),
    });
    for (const part of inBatches(outgoing, ({ message }) => message)) {
      if (batch.signal.aborted) return;
      await sendInFittingParts(
        part,
        (fitting) => untilSent(sending(fitting), batch),
        ({ record }, error) => deadLetter(record, refusedBy(topic, error), batch),
      );
    }
    // Behind the others, which shall not wait for the dead-letter topic.
    for (const letter of unreadable) await letter();
  };
}

function refusedBy(topic: string, error: unknown): DeadLetterCause {
  const message = `the topic ${topic} does not take a record as large as this (${kafkaErrorMessage(error)})`;
  return {
    reason: 'too-large',
    stage: 'decode',
    error: { type: 'MessageTooLarge', code: 'MESSAGE_TOO_LARGE', message },
    attempts: 1,
  };
}

/** What a redrive counts, and whatever else a producer added. */
function kafkaHeaders({ headers }: IntakeRecord): IHeaders {
  return fittingHeaders(headers as IHeaders);
}
