/** Failed writes from a Kafka topic, with a topic for the dead letters beside it. */
import type { KafkaConfig } from '../config.js';
import { checkKafka } from '../kafka/check.js';
import { createKafka } from '../kafka/client.js';
import { connectDeadLetters } from '../kafka/dead-letters.js';
import { startKafkaIntake } from '../kafka/intake.js';
import { type Forwarded, Forwarder, type Forwarding } from './forwarder.js';

/** @throws KafkaSetupError when Kafka does not answer or a topic is missing */
export async function startFromKafka(config: KafkaConfig, forwarding: Forwarding): Promise<Forwarded> {
  const { version, logger, gaps } = forwarding;
  await checkKafka(config, logger, ['bridge']);
  const kafka = createKafka(config, logger);
  const deadLetters = await connectDeadLetters(kafka, config.deadLetterTopic);
  const { forward, counters } = new Forwarder({ ...forwarding, of: 'Kafka', deadLetters });
  try {
    const intake = await startKafkaIntake({ kafka, config, handle: forward, version, logger, onGap: gaps.open });
    const { stop, isReading } = intake;
    return { counters, stop, isReading, finished: intake.finished.finally(() => deadLetters.close()) };
  } catch (error) {
    await deadLetters.close();
    throw error;
  }
}
