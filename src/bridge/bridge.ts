/** From Kafka to Temporal: one signal per key, no record lost. Entry point; the parts are beside it. */
import type { Logger } from 'pino';
import type { Config } from '../config.js';
import { connectDeadLetters, createKafka } from '../events/kafka.js';
import { checkKafka } from '../events/kafka-check.js';
import { type Counters, createForwarder } from './forwarder.js';
import { startKafkaIntake } from './kafka-intake.js';
import { createSignaller, type SignalClient } from './signaller.js';

export interface BridgeOptions {
  readonly config: Config;
  /** `client.workflow` of a Temporal client. The bridge does not close its connection. */
  readonly client: SignalClient;
  readonly logger: Logger;
}

export interface Bridge {
  /** Lets what is under way end, commits what was accepted, leaves the group. Takes at most about ten seconds. */
  stop(): Promise<void>;
  /** Resolves after `stop`; rejects when the bridge ended by itself, so that the process can end with an error. */
  readonly finished: Promise<void>;
  /** Live: read it again for newer numbers. */
  readonly counters: Counters;
}

/**
 * Starts to forward failed writes.
 * @throws KafkaSetupError when Kafka does not answer or a topic is missing
 */
export async function startBridge({ config, client, logger }: BridgeOptions): Promise<Bridge> {
  await checkKafka(config.kafka, logger);
  const kafka = createKafka(config.kafka, logger);
  const deadLetters = await connectDeadLetters(kafka, config.kafka.deadLetterTopic);
  const { forward, counters } = createForwarder({
    signaller: createSignaller(client, config.temporal.taskQueue, logger),
    deadLetters,
    links: new Map(config.links.map((link) => [link.name, link])),
    logger,
  });
  try {
    const intake = await startKafkaIntake({ kafka, config: config.kafka, handle: forward, logger });
    const finished = intake.finished.finally(() => deadLetters.close());
    return {
      counters,
      finished,
      async stop() {
        await intake.stop();
        // A bridge that had ended by itself has said so already.
        await finished.catch(() => {});
      },
    };
  } catch (error) {
    await deadLetters.close();
    throw error;
  }
}
