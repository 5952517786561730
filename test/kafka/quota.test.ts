/** A broker that answers without what it was asked for: the user has spent its quota. */
import { Kafka, logLevel } from 'kafkajs';
import { ulid } from 'ulid';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { connectDeadLetters } from '../../src/kafka/dead-letters.js';
import { LetterSearch } from '../../src/kafka/letter-search.js';
import type { Cluster } from '../../src/kafka/protocol/cluster.js';
import { createTopicReader } from '../../src/kafka/topic-reader.js';
import { stack } from '../support/services.js';
import { createTopics } from '../support/topics.js';

/** So many fetches are still answered with nothing. */
let empty = 0;
beforeEach(() => {
  empty = 2;
});

vi.mock('../../src/kafka/protocol/cluster.js', async (original) => {
  const { connectCluster } = await original<typeof import('../../src/kafka/protocol/cluster.js')>();
  const throttled = (cluster: Cluster | null): Cluster | null => {
    const findBroker = cluster!.findBroker.bind(cluster);
    cluster!.findBroker = async (node) => {
      const broker = await findBroker(node);
      const fetch = broker.fetch.bind(broker);
      return Object.assign(Object.create(broker), {
        fetch: async (request: object) => (empty-- > 0 ? { responses: [] } : fetch(request)),
      });
    };
    return cluster;
  };
  return { connectCluster: async (kafka: Kafka) => throttled(await connectCluster(kafka)) };
});

async function bed() {
  const topic = `quota-${ulid().toLowerCase()}`;
  const kafka = new Kafka({ brokers: stack().kafka.brokers, logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  await createTopics(admin, { topic, numPartitions: 1 });
  const letters = await connectDeadLetters(kafka, topic);
  onTestFinished(async () => {
    await Promise.all([admin.disconnect(), letters.close()]);
  });
  const key = Buffer.from('k');
  await letters.publish({ key, value: null, headers: { 'dlq.letter.id': 'run/1' } });
  return { topic, kafka, key };
}

test('a letter that is there is found all the same, or it would be there twice', async () => {
  const { topic, kafka, key } = await bed();
  const search = new LetterSearch(kafka, topic);
  onTestFinished(() => search.close());
  expect(await search.has(key, 'run/1', ['0'])).toBe(true);
  expect(empty).toBeLessThan(0);
});

test('a topic is read to its end', async () => {
  const { topic, kafka } = await bed();
  const reader = createTopicReader(kafka, topic);
  onTestFinished(() => reader.close());
  let records = 0;
  for await (const page of reader.pages(0, 0n, 1n)) records += page.records.length;
  expect(records).toBe(1);
});
