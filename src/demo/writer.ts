/** The DualWriter of the demo's application, with its way to Kafka, and what both have seen. */
import { Redis } from 'ioredis';
import type { FailedWrite } from '../../workflows/messages.js';
import { createDualWriter, type DualWriter } from '../dual-write/dual-writer.js';
import { mirrorOptions } from '../dual-write/target/mirror-options.js';
import type { RecordSink } from '../events/record-sink.js';
import { createKafkaRecordSink } from '../kafka/record-sink.js';
import { createOutbox } from '../outbox/record-sink.js';
import { createKafkaLink, type KafkaLink } from './kafka-link.js';
import { MIRROR_TIMEOUT_MS } from './phases.js';
import type { Stage } from './stage.js';

interface WriterOptions extends Pick<Stage, 'source' | 'link' | 'linkName' | 'brokers'> {
  /** Called for each failed write that was recorded. */
  readonly failed: (record: FailedWrite) => void;
}

interface Writer {
  readonly redis: DualWriter;
  /** Its way to Kafka. */
  readonly kafka: KafkaLink;
  /** Live. */
  readonly seen: {
    /** Records that waited in the outbox, because Kafka could not be reached. */
    readonly throughOutbox: number;
    /** How often it stopped sending to a target that did not answer. */
    readonly breakerOpened: number;
  };
  /**
   * Leaves no connection of its own.
   * @returns how many records neither Kafka nor the outbox took
   */
  close(timeoutMs?: number): Promise<number>;
}

export function openWriter({ source, link, linkName, brokers, failed }: WriterOptions): Writer {
  const kafka = createKafkaLink();
  const kafkaSink = createKafkaRecordSink({
    kafka: { brokers: [...brokers], socketFactory: kafka.socketFactory },
    topic: 'keymend.failed-writes',
  });
  const outbox = createOutbox({ client: source });
  const seen = { throughOutbox: 0, breakerOpened: 0 };
  const mirror = new Redis(link.port, '127.0.0.1', {
    ...mirrorOptions(MIRROR_TIMEOUT_MS),
    retryStrategy: () => 100,
  });
  mirror.on('error', () => {}); // That its link fails is what the demo is about.
  const redis = createDualWriter({
    link: linkName,
    source,
    target: mirror,
    records: [
      noting(kafkaSink, failed),
      noting(outbox, (record) => {
        failed(record);
        seen.throughOutbox += 1;
      }),
    ],
    origin: 'demo',
    // Counted by the writer itself.
    onError: () => {},
    // The phases are shorter than real outages.
    breaker: { maxProbeMs: 250 },
    failoverAfterMs: 500,
  });
  redis.on('breaker', ({ state }) => {
    if (state === 'open') seen.breakerOpened += 1;
  });
  return {
    redis,
    kafka,
    seen,
    async close(timeoutMs) {
      const { notRecorded } = await redis.close(timeoutMs === undefined ? {} : { timeoutMs });
      mirror.disconnect();
      await Promise.all([kafkaSink.close(), outbox.close()]);
      return redis.stats().lost + notRecorded.length;
    },
  };
}

/** Tells of each record that the sink has taken. */
function noting(sink: RecordSink, taken: (record: FailedWrite) => void): RecordSink {
  return {
    async publish(records) {
      await sink.publish(records);
      records.forEach(taken);
    },
  };
}
