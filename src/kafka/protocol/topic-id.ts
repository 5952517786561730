/**
 * Which topic stands under a name: one that is deleted and made anew has another ID. Asked for over
 * a connection of its own.
 */
import type { Kafka } from 'kafkajs';
import { type Cluster, connectCluster } from './cluster.js';
import { askTopic } from './topic-metadata.js';

export interface TopicIds {
  /**
   * @returns in hex; null: the broker or this kafkajs can't tell
   * @throws an error of kafkajs when no broker answers
   */
  idOf(topic: string): Promise<string | null>;
  close(): Promise<void>;
}

export function topicIds(kafka: Kafka): TopicIds {
  let connected: Promise<Cluster | null> | undefined;

  const disconnect = async () => {
    const last = connected;
    connected = undefined;
    await last?.then((cluster) => cluster?.disconnect()).catch(() => {});
  };

  return {
    async idOf(topic) {
      connected ??= connectCluster(kafka);
      try {
        const cluster = await connected;
        const metadata = cluster && (await askTopic(cluster, topic));
        return metadata?.error === 0 ? metadata.id : null;
      } catch (error) {
        await disconnect();
        throw error;
      }
    },
    close: disconnect,
  };
}
