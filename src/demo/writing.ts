/** The application of the demo at work: it writes through a DualWriter while its links fail. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { FailedWrite } from '../../workflows/messages.js';
import { createDualWriter, type DualWriter } from '../dual-write/dual-writer.js';
import { mirrorOptions } from '../dual-write/target/mirror-options.js';
import type { RecordSink } from '../events/record-sink.js';
import { createKafkaRecordSink } from '../kafka/record-sink.js';
import { createOutbox } from '../outbox/record-sink.js';
import { counted } from '../plural.js';
import type { FaultProxy } from '../stack/proxy.js';
import { writeOnce } from './application.js';
import { createKafkaLink } from './kafka-link.js';
import { type Links, MIRROR_TIMEOUT_MS, PHASES, type Phase } from './phases.js';
import { showProgress } from './progress.js';

export interface Written {
  readonly operations: number;
  /** Failed-write records that Kafka or the outbox took. */
  readonly failedWrites: number;
  /** How many of them waited in the outbox, because Kafka could not be reached. */
  readonly throughOutbox: number;
  /** Records that neither took. */
  readonly lost: number;
  /** How often the writer stopped sending to a target that did not answer. */
  readonly breakerOpened: number;
  /** By key, in ms since the epoch. */
  readonly lastFailedAt: ReadonlyMap<string, number>;
}

interface WritingOptions {
  readonly source: Redis;
  /** The way to the target. */
  readonly target: FaultProxy;
  readonly brokers: readonly string[];
  readonly report: (line: string) => void;
  /** Ends the writing; it then rejects. */
  readonly signal: AbortSignal;
}

const KEYS_PER_TYPE = 60;
const PAUSE_BETWEEN_WRITES_MS = 2;

/**
 * Writes through all phases. Leaves the links as the last one had them, and no connection of its
 * own.
 */
export async function writeThroughFaults(options: WritingOptions): Promise<Written> {
  const { source, target, brokers, report, signal } = options;
  const kafka = createKafkaLink();
  const kafkaSink = createKafkaRecordSink({
    kafka: { brokers: [...brokers], socketFactory: kafka.socketFactory },
    topic: 'keymend.failed-writes',
  });
  const outbox = createOutbox({ client: source });
  const lastFailedAt = new Map<string, number>();
  let throughOutbox = 0;
  let breakerOpened = 0;
  const mirror = new Redis(target.port, '127.0.0.1', {
    ...mirrorOptions(MIRROR_TIMEOUT_MS),
    retryStrategy: () => 100,
  });
  mirror.on('error', () => {}); // That its link fails is what the demo is about.
  const redis = createDualWriter({
    link: 'east-to-west',
    source,
    target: mirror,
    records: [
      noting(kafkaSink, ({ key, failedAt }) => lastFailedAt.set(key, Date.parse(failedAt))),
      noting(outbox, ({ key, failedAt }) => {
        lastFailedAt.set(key, Date.parse(failedAt));
        throughOutbox += 1;
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
    if (state === 'open') breakerOpened += 1;
  });
  const links = { target, kafka };
  let operations = 0;
  let phaseName = '';
  const line = showProgress(() => {
    const { recorded } = redis.stats();
    return `link ${phaseName.padEnd(20)} ${counted(operations, 'write')}, ${recorded} of them failed, ${throughOutbox} in the outbox`;
  }, report);
  try {
    for (const phase of PHASES) {
      phaseName = phase.name;
      for await (const _ of writesOf(phase, links, redis, signal)) operations += 1;
      if (phase !== PHASES.at(-1)) line.step();
    }
    const { notRecorded } = await redis.close();
    const { recorded, lost } = redis.stats();
    return {
      operations,
      failedWrites: recorded,
      throughOutbox,
      lost: lost + notRecorded.length,
      breakerOpened,
      lastFailedAt,
    };
  } catch (error) {
    // Interrupted: nothing of the writer must go on.
    await redis.close({ timeoutMs: 1000 });
    throw error;
  } finally {
    line.stop();
    mirror.disconnect();
    await Promise.all([kafkaSink.close(), outbox.close()]);
  }
}

/** Writes through one phase; yields after each write. */
async function* writesOf(phase: Phase, links: Links, redis: DualWriter, signal: AbortSignal): AsyncGenerator<void> {
  phase.begin(links);
  for (let operation = 0; operation < phase.operations; operation++) {
    phase.during?.(links, operation);
    await writeOnce(redis, KEYS_PER_TYPE, Math.random);
    yield;
    await sleep(PAUSE_BETWEEN_WRITES_MS, undefined, { signal });
  }
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
