/** Messages to one topic: acknowledged by all replicas, idempotent, in their order. */
import {
  type ICustomPartitioner,
  type Kafka,
  type Message,
  Partitioners,
  type Producer,
  type RetryOptions,
} from 'kafkajs';

export interface OrderedProducer {
  /**
   * Connects now instead of with the first message.
   * @throws an error of kafkajs when no broker answers
   */
  connect(): Promise<void>;
  /**
   * Resolves when all are acknowledged; rejects, with an error of kafkajs, when that is not certain
   * for at least one. One call at a time: that is what keeps the order of each key.
   */
  publish(messages: readonly Message[]): Promise<void>;
  /** Where a message was sent when it was last tried to; undefined: it did not come to that. */
  partitionOf(message: Message): number | undefined;
  close(): Promise<void>;
}

/** @param retry of one call of `publish`; by default as long as kafkajs finds it worth while */
export function createOrderedProducer(kafka: Kafka, topic: string, retry?: RetryOptions): OrderedProducer {
  let producer: Promise<Producer> | undefined;
  const partitions = new WeakMap<Message, number>();
  const partitioner: ICustomPartitioner = () => {
    const choose = Partitioners.DefaultPartitioner();
    return (args) => {
      const partition = choose(args);
      partitions.set(args.message, partition);
      return partition;
    };
  };

  async function connected(): Promise<Producer> {
    const created = kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: partitioner,
      ...(retry && { retry }),
    });
    await created.connect();
    return created;
  }

  async function attempt(work: (producer: Producer) => Promise<unknown>): Promise<void> {
    producer ??= connected();
    const used = producer;
    try {
      await work(await used);
    } catch (error) {
      // After a final failure kafkajs gives the next batch the sequence numbers of this one. Had
      // this one arrived after all, the broker would take the next for its repetition and drop it:
      // so a new producer, which has an identity of its own.
      if (producer === used) producer = undefined;
      await disconnect(used);
      throw error;
    }
    // Closed meanwhile; what kafkajs had to send again can have opened connections anew.
    if (producer !== used) await disconnect(used);
  }

  return {
    connect: () => attempt(async () => {}),
    publish: (messages) => attempt((used) => used.send({ topic, acks: -1, messages: [...messages] })),
    partitionOf: (message) => partitions.get(message),
    async close() {
      const last = producer;
      producer = undefined;
      if (last) await disconnect(last);
    },
  };
}

/** Never rejects: one that could not connect has nothing to close. */
async function disconnect(producer: Promise<Producer>): Promise<void> {
  await producer.then((connected) => connected.disconnect()).catch(() => {});
}
