import { connect } from 'node:net';
import { type Admin, Kafka, logLevel, type Message } from 'kafkajs';
import { ulid } from 'ulid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeFailedWrite } from '../../src/events/failed-write-codec.js';
import { RecordsRefusedError } from '../../src/events/record-sink.js';
import { createKafkaRecordSink, type KafkaRecordSink } from '../../src/kafka/record-sink.js';
import { type FaultProxy, startProxy } from '../../src/stack/proxy.js';
import type { FailedWrite } from '../../workflows/messages.js';
import { eventually } from '../support/eventually.js';
import { stack } from '../support/services.js';
import { createTopics } from '../support/topics.js';

/** One try. */
const IMPATIENT = 1;

let kafka: Kafka;
let admin: Admin;
const topics: string[] = [];
beforeAll(async () => {
  kafka = new Kafka({ brokers: stack().kafka.brokers, logLevel: logLevel.NOTHING });
  admin = kafka.admin();
  await admin.connect();
});
afterAll(async () => {
  if (topics.length > 0) await admin.deleteTopics({ topics });
  await admin.disconnect();
});

function newTopicName(): string {
  return `dual-write-${ulid()}`;
}

async function createTopic(topic: string, numPartitions: number, maxMessageBytes?: number): Promise<string> {
  const configEntries = maxMessageBytes ? [{ name: 'max.message.bytes', value: `${maxMessageBytes}` }] : [];
  await createTopics(admin, { topic, numPartitions, configEntries });
  topics.push(topic);
  return topic;
}

function record(key: string, more: Partial<FailedWrite> = {}): FailedWrite {
  return { specVersion: 1, id: ulid(), link: 'l', key, failedAt: new Date().toISOString(), ...more };
}

async function size(topic: string): Promise<number> {
  const offsets = await admin.fetchTopicOffsets(topic);
  return offsets.reduce((sum, { high }) => sum + Number(high), 0);
}

/** Everything that a topic holds. */
async function read(topic: string): Promise<(Message & { partition: number })[]> {
  const expected = await size(topic);
  const messages: (Message & { partition: number })[] = [];
  const consumer = kafka.consumer({ groupId: `test-${ulid()}` });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      if (expected === 0) resolve();
      // A coordinator that is still loading is no reason to give up; kafkajs starts again by
      // itself.
      consumer.on('consumer.crash', ({ payload }) => payload.restart || reject(payload.error));
      consumer
        .run({
          eachMessage: async ({ message, partition }) => {
            messages.push({ ...message, partition });
            if (messages.length === expected) resolve();
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
  return messages;
}

describe('the Kafka sink', () => {
  it('publishes each record under the raw bytes of its key, in order, one partition per key', async () => {
    const topic = await createTopic(newTopicName(), 4);
    const sink = createKafkaRecordSink({ kafka: { brokers: stack().kafka.brokers }, topic });
    const binary = Buffer.from([0xff, 0x00, 0x80]);
    const records = Array.from({ length: 60 }, (_, index) => record(`k${index % 5}`, { command: `C${index}` }));
    records.push(record(binary.toString('base64'), { encoding: 'base64' }));
    try {
      await sink.publish(records.slice(0, 30));
      await sink.publish(records.slice(30));
    } finally {
      await sink.close();
    }
    const messages = await read(topic);
    const events = messages.map(({ key, value, partition }) => {
      const decoded = decodeFailedWrite(value as Buffer);
      if (!decoded.ok) throw new Error(decoded.problem.message);
      expect(decoded.key).toEqual(key);
      return { event: decoded.event, partition };
    });
    expect(messages.some(({ key }) => binary.equals(key as Buffer))).toBe(true);
    for (const key of ['k0', 'k1', 'k2', 'k3', 'k4']) {
      const ofKey = events.filter(({ event }) => event.key === key);
      expect(ofKey.map(({ event }) => event.id)).toEqual(
        records.filter((sent) => sent.key === key).map(({ id }) => id),
      );
      expect(new Set(ofKey.map(({ partition }) => partition)).size).toBe(1);
    }
  });

  it('takes more records at once than fit into one batch of the broker', async () => {
    const topic = await createTopic(newTopicName(), 1);
    const sink = createKafkaRecordSink({ kafka: { brokers: stack().kafka.brokers }, topic });
    try {
      await sink.publish(Array.from({ length: 60 }, () => record('k'.repeat(30_000))));
    } finally {
      await sink.close();
    }
    expect(await size(topic)).toBe(60);
  });

  it('splits what is too large for the topic, in order', async () => {
    const topic = await createTopic(newTopicName(), 1, 20_000);
    const sink = createKafkaRecordSink({ kafka: { brokers: stack().kafka.brokers }, topic });
    const records = Array.from({ length: 60 }, (_, index) => record(`${index}:${'k'.repeat(2_000)}`));
    try {
      await sink.publish(records);
    } finally {
      await sink.close();
    }
    expect((await read(topic)).map(({ key }) => String(key))).toEqual(records.map(({ key }) => key));
  });

  it('publishes what the topic takes around a record that it does not, and says so', async () => {
    const topic = await createTopic(newTopicName(), 1, 20_000);
    const sink = createKafkaRecordSink({ kafka: { brokers: stack().kafka.brokers }, topic });
    try {
      const records = ['before', 'k'.repeat(30_000), 'behind'].map((key) => record(key));
      const refusal = await sink.publish(records).catch((error) => error);
      expect(refusal).toBeInstanceOf(RecordsRefusedError);
      expect(refusal.records).toEqual([records[1]]);
      expect(refusal.message).toMatch(new RegExp(`^Kafka topic ${topic} at [^\\n]*larger[^\\n]*$`));
    } finally {
      await sink.close();
    }
    expect((await read(topic)).map(({ key }) => String(key))).toEqual(['before', 'behind']);
  });

  it('says in one line where it could not connect, and publishes nothing', async () => {
    const sink = createKafkaRecordSink({
      kafka: { brokers: ['127.0.0.1:1'], retry: { retries: 0 } },
      topic: 't',
      timeoutMs: IMPATIENT,
    });
    await expect(sink.connect()).rejects.toThrow(/^Kafka topic t at 127\.0\.0\.1:1: [^\n]+$/);
    await expect(sink.publish([record('k')])).rejects.toThrow(/^Kafka topic t at 127\.0\.0\.1:1: [^\n]+$/);
    await sink.close();
  });

  it('waits while no broker can be reached, and publishes then', async () => {
    const topic = await createTopic(newTopicName(), 1);
    const [host = '', port] = stack().kafka.brokers[0]!.split(':');
    const link = await startProxy({ target: { host, port: Number(port) } });
    let refused = 0;
    const sink = createKafkaRecordSink({
      kafka: {
        brokers: stack().kafka.brokers,
        socketFactory: ({ onConnect }) =>
          connect({ host: '127.0.0.1', port: link.port }, onConnect).once('error', () => {
            refused += 1;
          }),
      },
      topic,
    });
    try {
      link.cut();
      await expect(sink.connect()).rejects.toThrow(topic);
      const never = sink.publish([record('first')]);
      const before = refused;
      // More than kafkajs tries by itself to connect.
      while (refused < before + 8) await new Promise((resolve) => setTimeout(resolve, 10));
      link.restore();
      await never;
      // The same when it was connected before.
      link.cut();
      const again = sink.publish([record('second')]);
      const beforeAgain = refused;
      while (refused < beforeAgain + 8) await new Promise((resolve) => setTimeout(resolve, 10));
      link.restore();
      await again;
    } finally {
      await sink.close();
      await link.close();
    }
    expect((await read(topic)).map(({ key }) => String(key))).toEqual(['first', 'second']);
  });

  it('ends its patience when it is closed', async () => {
    const sink = createKafkaRecordSink({ kafka: { brokers: ['127.0.0.1:1'] }, topic: 't' });
    const publishing = sink.publish([record('k')]);
    publishing.catch(() => {});
    await sink.close();
    await expect(publishing).rejects.toThrow(/^Kafka topic t at /);
  });

  it('works again after a failure', async () => {
    const topic = newTopicName();
    const sink = createKafkaRecordSink({ kafka: { brokers: stack().kafka.brokers }, topic, timeoutMs: IMPATIENT });
    try {
      await expect(sink.publish([record('k')])).rejects.toThrow(topic);
      await createTopic(topic, 1);
      await sink.publish([record('k')]);
      expect(await size(topic)).toBe(1);
    } finally {
      await sink.close();
    }
  });

  describe('behind a faulty network', () => {
    let link: FaultProxy;
    let sink: KafkaRecordSink;
    let topic: string;
    beforeAll(async () => {
      topic = await createTopic(newTopicName(), 1);
      const [host = '', port] = stack().kafka.brokers[0]!.split(':');
      link = await startProxy({ target: { host, port: Number(port) } });
      sink = createKafkaRecordSink({
        kafka: {
          brokers: stack().kafka.brokers,
          retry: { retries: 0 },
          // The broker advertises its own address; this leads every connection through the proxy.
          socketFactory: ({ onConnect }) => connect({ host: '127.0.0.1', port: link.port }, onConnect),
        },
        topic,
        timeoutMs: IMPATIENT,
      });
    });
    afterAll(async () => {
      await sink.close();
      await link.close();
    });

    it('publishes a record once whose acknowledgement was lost on the way', async () => {
      await sink.publish([record('connects')]);
      const before = await size(topic);
      link.slow(4_000);
      const published = sink.publish([record('once')]);
      // The broker has it; its answer is still on the way.
      await eventually(async () => expect(await size(topic)).toBe(before + 1));
      link.cut();
      link.restore();
      await published;
      expect(await size(topic)).toBe(before + 1);
    });

    it('never takes a new record for the repetition of one whose acknowledgement was lost', async () => {
      const before = await size(topic);
      await sink.publish([record('first')]);
      link.slow(4_000);
      const lost = sink.publish([record('acknowledgement lost')]);
      lost.catch(() => {});
      // The broker has it; its answer is still on the way.
      while ((await size(topic)) < before + 2) await new Promise((resolve) => setTimeout(resolve, 20));
      link.cut();
      await expect(lost).rejects.toThrow(topic);
      link.restore();
      await sink.publish([record('next')]);
      const keys = (await read(topic)).map(({ key }) => String(key));
      expect(keys.slice(before)).toEqual(['first', 'acknowledgement lost', 'next']);
    });
  });
});
