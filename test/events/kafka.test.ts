import { type Admin, Kafka, type KafkaMessage, logLevel } from 'kafkajs';
import { pino } from 'pino';
import { ulid } from 'ulid';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { DeadLetterRefused, type DeadLetters } from '../../src/events/dead-letters.js';
import { checkKafka } from '../../src/kafka/check.js';
import { createKafka } from '../../src/kafka/client.js';
import { connectDeadLetters } from '../../src/kafka/dead-letters.js';
import { eventually } from '../support/eventually.js';
import { stack } from '../support/services.js';

const lines: { level: number; msg: string }[] = [];
const logger = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
const topic = `dead-letters-${ulid().toLowerCase()}`;
let admin: Admin;
let deadLetters: DeadLetters;

function configFor(topics: { topic: string; deadLetterTopic: string }) {
  const { brokers } = stack().kafka;
  const link = { name: 'l', source: { url: 'redis://a' }, target: { url: 'redis://b' } };
  const config = parseConfig(JSON.stringify({ kafka: { brokers, ...topics }, links: [link] }), 'the test', {});
  if (config.intake !== 'kafka') throw new Error('kafka is the default');
  return config.kafka;
}

beforeAll(async () => {
  admin = new Kafka({ brokers: stack().kafka.brokers, logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, configEntries: [{ name: 'max.message.bytes', value: '10000' }] }] });
  await eventually(() => admin.fetchTopicMetadata({ topics: [topic] }));
  deadLetters = await connectDeadLetters(createKafka(configFor({ topic, deadLetterTopic: topic }), logger), topic);
});

afterAll(async () => {
  await deadLetters?.close();
  await admin.deleteTopics({ topics: [topic] });
  await admin.disconnect();
});

async function lastMessage(): Promise<KafkaMessage> {
  const consumer = new Kafka({ brokers: stack().kafka.brokers, logLevel: logLevel.NOTHING }).consumer({
    groupId: ulid(),
  });
  const [partition] = await admin.fetchTopicOffsets(topic);
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  try {
    return await new Promise<KafkaMessage>((resolve, reject) => {
      consumer
        .run({
          eachMessage: async ({ message }) => {
            if (Number(message.offset) === Number(partition!.high) - 1) resolve(message);
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
}

test('a dead letter is published as it is', async () => {
  const key = Buffer.from([0, 255]);
  await deadLetters.publish({ key, value: null, headers: { a: 'b' }, timestamp: '1700000000000' });
  expect(await lastMessage()).toMatchObject({
    key,
    value: null,
    timestamp: '1700000000000',
    headers: { a: Buffer.from('b') },
  });
});

test('one that is too large for the topic is compressed', async () => {
  const value = Buffer.alloc(100_000, 'x');
  await deadLetters.publish({ key: null, value, headers: {} });
  expect((await lastMessage()).value!.equals(value)).toBe(true);
});

test('one that is too large even so is an error that says how to make room', async () => {
  const value = Buffer.from(Array.from({ length: 30_000 }, () => Math.floor(Math.random() * 256)));
  const error: Error = await deadLetters.publish({ key: null, value, headers: {} }).catch((reason) => reason);
  expect(error).toBeInstanceOf(DeadLetterRefused);
  expect(error.message).toMatch(
    new RegExp(`^the topic ${topic} refuses a record of 30000 bytes .*max.message.bytes=95536$`),
  );
});

test('one with a time that the topic does not take is published with the present time', async () => {
  const future = `${Date.now() + 86_400_000}`;
  await deadLetters.publish({ key: null, value: Buffer.from('from the future'), timestamp: future, headers: {} });
  const message = await lastMessage();
  expect(String(message.value)).toBe('from the future');
  expect(Number(message.timestamp)).toBeLessThan(Number(future));
});

test('the check at start warns when the dead-letter topic takes less than the topic', async () => {
  lines.length = 0;
  await checkKafka(configFor({ topic, deadLetterTopic: topic }), logger);
  const warnings = lines.filter(({ level }) => level >= 40).map(({ msg }) => msg);
  expect(warnings).toEqual([expect.stringMatching(/set its max.message.bytes to 26384 or more$/)]);
});

test('the check at start refuses a topic that is compacted, and warns of such dead letters', async () => {
  const compacted = `compacted-${ulid().toLowerCase()}`;
  const kept = `kept-${ulid().toLowerCase()}`;
  const configEntries = [{ name: 'cleanup.policy', value: 'compact,delete' }];
  await admin.createTopics({ waitForLeaders: false, topics: [{ topic: compacted, configEntries }, { topic: kept }] });
  onTestFinished(() => admin.deleteTopics({ topics: [compacted, kept] }));
  await eventually(() => admin.fetchTopicMetadata({ topics: [compacted, kept] }));
  await expect(checkKafka(configFor({ topic: compacted, deadLetterTopic: kept }), logger)).rejects.toThrow(
    new RegExp(
      `^the topic ${compacted} is compacted, .*--entity-name ${compacted} --add-config cleanup.policy=delete$`,
    ),
  );
  lines.length = 0;
  await checkKafka(configFor({ topic: kept, deadLetterTopic: compacted }), logger);
  expect(lines.map(({ msg }) => msg).join()).toContain(`the dead-letter topic ${compacted} is compacted, so`);
});

test('the check at start names every missing topic in one line', async () => {
  const config = configFor({ topic: 'nobody.made.this', deadLetterTopic: 'nobody.made.this.dlq' });
  const error: Error = await checkKafka(config, logger).then(
    () => expect.unreachable(),
    (reason) => reason,
  );
  expect(error.message).toMatch(/^Kafka at \S+ has no topic nobody.made.this and nobody.made.this.dlq .*create it/);
  expect(error.message).toContain('--create --topic nobody.made.this.dlq --config retention.ms=-1');
  expect(error.message).not.toContain('\n');
  // Looking for a topic must not create it where brokers would.
  expect(await admin.listTopics()).not.toContain('nobody.made.this');
});
