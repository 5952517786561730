/**
 * kafkajs beneath its types: for what its clients can't ask for. Its version is pinned, and what is
 * used of it is listed here.
 */
import type { Kafka, KafkaMessage } from 'kafkajs';

export interface Cluster {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  addTargetTopic(topic: string): Promise<void>;
  refreshMetadata(): Promise<void>;
  findTopicPartitionMetadata(topic: string): readonly { readonly partitionId: number }[];
  /** Partitions by the node that leads them. */
  findLeaderForPartitions(topic: string, partitions: readonly number[]): Readonly<Record<string, readonly string[]>>;
  findBroker(broker: { readonly nodeId: string }): Promise<Broker>;
  fetchTopicsOffset(
    topics: readonly TopicOffsetRequest[],
  ): Promise<{ readonly partitions: readonly PartitionOffset[] }[]>;
  readonly brokerPool: {
    readonly seedBroker: SeedBroker;
    /** By the number of a request, since it is connected. */
    readonly versions: Readonly<Record<number, { readonly maxVersion: number }>> | null;
  };
}

interface SeedBroker {
  readonly connectionPool: {
    /** Resolves with what `response.parse` gives. */
    send<T>(protocol: {
      readonly request: object;
      readonly response: { decode(answer: Buffer): Promise<Buffer>; parse(answer: Buffer): Promise<T> };
      readonly logResponseError: boolean;
    }): Promise<T>;
  };
  findGroupCoordinator(group: {
    readonly groupId: string;
    readonly coordinatorType: number;
  }): Promise<{ readonly coordinator: { readonly nodeId: number } }>;
}

interface TopicOffsetRequest {
  readonly topic: string;
  readonly partitions: readonly { readonly partition: number }[];
  readonly fromBeginning: boolean;
}

interface PartitionOffset {
  readonly partition: number;
  readonly offset: string;
}

interface Broker {
  heartbeat(member: { groupId: string; groupGenerationId: number; memberId: string }): Promise<unknown>;
  fetch(request: object): Promise<{ readonly responses: readonly FetchedTopic[] }>;
}

interface FetchedTopic {
  readonly partitions: readonly FetchedPartition[];
}

export interface FetchedPartition {
  readonly partition: number;
  readonly highWatermark: string;
  /** In front of the first transaction that is open: behind it nothing is told of yet. */
  readonly lastStableOffset: string;
  readonly messages: readonly KafkaMessage[];
}

/**
 * A cluster of its own, with its own connections.
 * @returns null: this kafkajs is not the one that is known here
 * @throws an error of kafkajs when no broker answers
 */
export async function connectCluster(kafka: Kafka): Promise<Cluster | null> {
  const create = Object.getOwnPropertySymbols(kafka).find(({ description }) =>
    /createCluster$/.test(description ?? ''),
  );
  if (create === undefined) return null;
  const cluster = (kafka as unknown as Record<symbol, (options: object) => Cluster>)[create]!({
    // Kafka's default for whoever asks of a topic; what looks must make none.
    allowAutoTopicCreation: false,
  });
  await cluster.connect();
  return cluster;
}
