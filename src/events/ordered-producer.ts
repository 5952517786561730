/** Messages to one topic: acknowledged by all replicas, idempotent, in their order. */
import { type Kafka, type Message, Partitioners, type Producer } from 'kafkajs';

export interface OrderedProducer {
  /**
   * Resolves when all are acknowledged; rejects, with an error of kafkajs, when that is not certain for at least one.
   * One call at a time: that is what keeps the order of each key.
   */
  publish(messages: readonly Message[]): Promise<void>;
  close(): Promise<void>;
}

/** Connects with the first message. */
export function createOrderedProducer(kafka: Kafka, topic: string): OrderedProducer {
  let producer: Producer | undefined;

  async function connected(): Promise<Producer> {
    if (producer !== undefined) return producer;
    const created = kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: Partitioners.DefaultPartitioner,
    });
    await created.connect();
    producer = created;
    return created;
  }

  async function close(): Promise<void> {
    const last = producer;
    producer = undefined;
    await last?.disconnect();
  }

  return {
    async publish(messages) {
      try {
        await (await connected()).send({ topic, acks: -1, messages: [...messages] });
      } catch (error) {
        // After a final failure kafkajs gives the next batch the sequence numbers of this one. Had this one arrived after all,
        // the broker would take the next for its repetition and drop it: so a new producer, which has an identity of its own.
        await close().catch(() => {});
        throw error;
      }
    },
    close,
  };
}
