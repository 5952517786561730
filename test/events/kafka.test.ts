import { type Admin, Kafka, type KafkaMessage, logLevel } from 'kafkajs';
import { pino } from 'pino';
import { ulid } from 'ulid';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { DeadLetterRefused, type DeadLetters } from '../../src/events/dead-letters.js';
import { checkKafka } from '../../src/kafka/check.js';
import { createKafka } from '../../src/kafka/client.js';
import { connectDeadLetters } from '../../src/kafka/dead-letters.js';
import { eventually } from '../support/eventually.js';
import { startOwnKafka } from '../support/own-kafka.js';
import { stack } from '../support/services.js';
import { createTopics } from '../support/topics.js';

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
  await createTopics(admin, { topic, configEntries: [{ name: 'max.message.bytes', value: '10000' }] });
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

describe('a letter with a name', () => {
  const named = (id: string, key = id) => ({ key: Buffer.from(key), value: null, headers: { 'dlq.letter.id': id } });
  const count = async () => Number((await admin.fetchTopicOffsets(topic))[0]!.high);

  test('that may have been published before is looked for, and published if it is not there', async () => {
    const behind = await deadLetters.ends!();
    const before = await count();
    await deadLetters.publish(named('run/1'));
    await deadLetters.publish(named('run/1'), { behind });
    await deadLetters.publish(named('run/2'), { behind });
    await deadLetters.publish(named('run/2'), { behind });
    expect((await count()) - before).toBe(2);
  });

  test('is found by another process as well, and among many others', async () => {
    const behind = await deadLetters.ends!();
    await deadLetters.publish(named('run/3'));
    await Promise.all(Array.from({ length: 200 }, (_, n) => deadLetters.publish(named(`other/${n}`))));
    const other = await connectDeadLetters(createKafka(configFor({ topic, deadLetterTopic: topic }), logger), topic);
    onTestFinished(() => other.close());
    const before = await count();
    await Promise.all(['run/3', 'other/0', 'other/199'].map((id) => other.publish(named(id), { behind })));
    expect(await count()).toBe(before);
  });

  test('is found where the topic has got partitions since, and where its first records are gone', async () => {
    const growing = `growing-${ulid().toLowerCase()}`;
    await createTopics(admin, { topic: growing, numPartitions: 2 });
    onTestFinished(() => admin.deleteTopics({ topics: [growing] }));
    const connect = () =>
      connectDeadLetters(createKafka(configFor({ topic, deadLetterTopic: topic }), logger), growing);
    const first = await connect();
    onTestFinished(() => first.close());
    const behind = await first.ends!();
    const ids = Array.from({ length: 10 }, (_, n) => `run/${n}`);
    for (const id of ids) await first.publish(named(id));
    await admin.createPartitions({ topicPartitions: [{ topic: growing, count: 5 }] });
    const total = async () => {
      const offsets = await admin.fetchTopicOffsets(growing);
      return offsets.reduce((sum, { high }) => sum + Number(high), 0);
    };
    await eventually(async () => expect(await admin.fetchTopicOffsets(growing)).toHaveLength(5));
    const second = await connect();
    onTestFinished(() => second.close());
    for (const id of ids) await second.publish(named(id), { behind });
    expect(await total()).toBe(10);
    // One that has looked before does not keep to the partitions that it knew then.
    await admin.createPartitions({ topicPartitions: [{ topic: growing, count: 9 }] });
    await eventually(async () => expect(await admin.fetchTopicOffsets(growing)).toHaveLength(9));
    const third = await connect();
    onTestFinished(() => third.close());
    const later = ids.map((id) => `later-${id}`);
    for (const id of later) await third.publish(named(id));
    for (const id of later) await second.publish(named(id), { behind });
    expect(await total()).toBe(20);
    await admin.deleteTopicRecords({ topic: growing, partitions: [{ partition: 0, offset: '1' }] });
    await second.publish(named('run/0'), { behind: ['0', '0'] });
    expect(await total()).toBeLessThanOrEqual(21);
  });
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
  await createTopics(admin, { topic: compacted, configEntries }, { topic: kept });
  onTestFinished(() => admin.deleteTopics({ topics: [compacted, kept] }));
  await expect(checkKafka(configFor({ topic: compacted, deadLetterTopic: kept }), logger)).rejects.toThrow(
    new RegExp(
      `^the topic ${compacted} is compacted, .*--entity-name ${compacted} --add-config cleanup.policy=delete$`,
    ),
  );
  lines.length = 0;
  await checkKafka(configFor({ topic: kept, deadLetterTopic: compacted }), logger);
  expect(lines.map(({ msg }) => msg).join()).toContain(`the dead-letter topic ${compacted} is compacted, so`);
});

test.each(['retention.ms', 'retention.bytes'])(
  'the check at start warns of dead letters that go by %s',
  async (name) => {
    const short = `short-${ulid().toLowerCase()}`;
    await createTopics(admin, { topic: short, configEntries: [{ name, value: '86400000' }] });
    onTestFinished(() => admin.deleteTopics({ topics: [short] }));
    lines.length = 0;
    await checkKafka(configFor({ topic: short, deadLetterTopic: short }), logger);
    expect(lines.map(({ msg }) => msg).join()).toMatch(
      new RegExp(`the dead-letter topic ${short} drops letters .*--add-config retention.ms=-1,retention.bytes=-1`),
    );
  },
);

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

test('letters with a name go on when Kafka is back, and none of them is there twice', async () => {
  const kafka = await startOwnKafka();
  const own = new Kafka({ brokers: kafka.brokers, logLevel: logLevel.NOTHING });
  const ownAdmin = own.admin();
  await ownAdmin.connect();
  await createTopics(ownAdmin, { topic: 'letters', numPartitions: 3 });
  const config = { ...configFor({ topic: 'letters', deadLetterTopic: 'letters' }), brokers: kafka.brokers };
  const connect = () => connectDeadLetters(createKafka(config, logger), 'letters');
  const letters = await eventually(connect);
  onTestFinished(async () => {
    await letters.close();
    await ownAdmin.disconnect();
  });
  // Just made, the topic is not at every broker's yet.
  const behind = await eventually(() => letters.ends!());
  const named = (id: string) => ({ key: Buffer.from(id), value: null, headers: { 'dlq.letter.id': id } });
  await eventually(() => letters.publish(named('before'), { behind }));
  await kafka.stop();
  await expect(letters.publish(named('meanwhile'))).rejects.toThrow();
  await kafka.start();
  for (const id of ['before', 'meanwhile', 'before', 'meanwhile', 'after']) {
    await eventually(() => letters.publish(named(id), { behind }));
  }
  const offsets = await eventually(() => ownAdmin.fetchTopicOffsets('letters'));
  expect(offsets.reduce((sum, { high }) => sum + Number(high), 0)).toBe(3);
});
