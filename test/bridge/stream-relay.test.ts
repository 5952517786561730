import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { Kafka, type KafkaMessage, logLevel } from 'kafkajs';
import { ulid } from 'ulid';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Gaps } from '../../src/bridge/gaps.js';
import { RELAY_GROUP, startRelay } from '../../src/bridge/relay.js';
import { type KafkaIntakeConfig, parseConfig } from '../../src/config.js';
import { createOutbox } from '../../src/outbox/record-sink.js';
import { startProxy } from '../../src/stack/proxy.js';
import { startOwnKafka } from '../support/own-kafka.js';
import { freePort, startRedis } from '../support/redis.js';
import { stack } from '../support/services.js';
import { createTopics } from '../support/topics.js';
import { failedWrite, type LogLine, loggerInto, until } from './bridge-bed.js';
import { STREAM } from './stream-bed.js';

const PROGRAM = fileURLToPath(new URL('relay-that-never-forgets.js', import.meta.url));

/** An outbox, topics, and relays between them. Cleans up after the test that calls it. */
async function relayBed(options: { brokers?: readonly string[]; maxMessageBytes?: number } = {}) {
  const brokers = options.brokers ?? stack().kafka.brokers;
  const topic = `relayed-${ulid().toLowerCase()}`;
  const deadLetterTopic = `${topic}.dlq`;
  const server = await startRedis();
  const config = parseConfig(
    JSON.stringify({
      kafka: { brokers, topic, deadLetterTopic },
      links: ['a', 'b'].map((name) => ({
        name,
        workflowIdPrefix: `${name}/`,
        source: { url: server.url },
        target: { url: `redis://127.0.0.1:${name === 'a' ? 1 : 2}` },
      })),
    }),
    'the test',
    {},
  );
  if (config.intake !== 'kafka') throw new Error('kafka is the default');
  const kafka = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  const outbox = createOutbox({ client: new Redis(server.url, { lazyConnect: true }) });
  const logs: LogLine[] = [];
  const relays: ReturnType<typeof startRelay>[] = [];
  const opened: { readonly id: string; readonly links: string[] }[] = [];
  const gaps: Gaps = {
    // As while Temporal is away.
    open({ id }, signal, links = []) {
      opened.push({ id, links: [...links] });
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
    },
  };
  onTestFinished(async () => {
    await Promise.all(relays.map((relay) => relay.stop()));
    await admin.deleteTopics({ topics: [topic, deadLetterTopic] }).catch(() => {});
    await admin.disconnect().catch(() => {});
    await outbox.close();
    await server.stop();
  });
  await admin.connect();
  await createTopics(
    admin,
    {
      topic,
      numPartitions: 4,
      configEntries: [{ name: 'max.message.bytes', value: `${options.maxMessageBytes ?? 1_048_588}` }],
    },
    { topic: deadLetterTopic },
  );

  return {
    config,
    port: server.port,
    redis: server.client,
    outbox,
    warnings: () => logs.filter(({ level }) => level >= 40).map(({ msg }) => msg),
    logs: () => logs.map(({ msg }) => msg),
    gaps: opened,

    start(changed: KafkaIntakeConfig = config) {
      const relay = startRelay(changed, loggerInto(logs), gaps);
      relays.push(relay);
      return relay;
    },

    /** All that a topic holds, once that is `count` messages or more. */
    async messages(count: number, of: string = topic): Promise<KafkaMessage[]> {
      const messages: KafkaMessage[] = [];
      const consumer = kafka.consumer({ groupId: ulid(), maxWaitTimeInMs: 100 });
      await consumer.connect();
      await consumer.subscribe({ topics: [of], fromBeginning: true });
      await consumer.run({ eachMessage: async ({ message }) => void messages.push(message) });
      try {
        await until(() => {
          if (messages.length < count) throw new Error(`${messages.length} of ${count} messages`);
        });
      } finally {
        await consumer.disconnect();
      }
      return messages;
    },

    /** Waits until so many relays have nothing to do but to wait for an entry. */
    untilWaiting: (count: number) =>
      until(async () => {
        const clients = String(await server.client.client('LIST')).split('\n');
        expect(clients.filter((client) => / flags=[^ ]*b.* cmd=xreadgroup/.test(client))).toHaveLength(count);
      }),

    /** Waits until every entry was published. */
    untilEmpty: () => until(async () => expect(await server.client.xlen(STREAM)).toBe(0)),
  };
}

function writesOf(keys: number, count: number) {
  return Array.from({ length: count }, (_, index) =>
    failedWrite({ link: 'a', id: `w${index}`, key: `k${index % keys}` }),
  );
}

function idsByKey(messages: readonly KafkaMessage[]): Map<string, string[]> {
  const ids = new Map<string, string[]>();
  for (const { key, value } of messages) {
    ids.set(String(key), [...(ids.get(String(key)) ?? []), JSON.parse(String(value)).id]);
  }
  return ids;
}

describe('the relay', () => {
  test('publishes each entry under the raw key of its record, in the order of each key, and forgets it', async () => {
    const bed = await relayBed();
    // So large that no batch fits into one message set of Kafka.
    const writes = writesOf(7, 1_300).map((write) => ({ ...write, members: ['m'.repeat(1_500)] }));
    const binary = Buffer.from([0xff, 0, 0x80]);
    await bed.outbox.publish(writes);
    await bed.outbox.publish([failedWrite({ key: binary.toString('base64'), encoding: 'base64', id: 'binary' })]);
    bed.start();
    await bed.untilEmpty();
    const messages = await bed.messages(1_301);
    expect(messages).toHaveLength(1_301);
    expect(messages.find(({ key }) => binary.equals(key!))).toBeDefined();
    const ids = idsByKey(messages);
    for (let key = 0; key < 7; key++) {
      expect(ids.get(`k${key}`)).toEqual(writes.filter((write) => write.key === `k${key}`).map(({ id }) => id));
    }
    expect((await bed.redis.xpending(STREAM, RELAY_GROUP))[0]).toBe(0);
    expect(bed.warnings()).toEqual([]);
  });

  test('sends what any program appended, byte for byte, whatever else the record says', async () => {
    const bed = await relayBed();
    const value =
      '{"specVersion":1, "id":"by hand", "link":"nobody", "key":"k", "failedAt":"2026-11-20T23:00:00Z", "x":1}';
    await bed.redis.xadd(STREAM, '*', 'value', value, 'dlq.redrive.count', '1');
    bed.start();
    const [message] = await bed.messages(1);
    expect(String(message!.value)).toBe(value);
    expect(String(message!.key)).toBe('k');
    expect(String(message!.headers!['dlq.redrive.count'])).toBe('1');
  });

  test('moves what can not be read to the dead-letter topic, its bytes untouched, and goes on', async () => {
    const bed = await relayBed();
    const poison = Buffer.from([0xff, 0xfe, 0]);
    const id = await bed.redis.xadd(STREAM, '*', 'key', 'p', 'value', poison, 'trace', 't1');
    await bed.redis.xadd(STREAM, '*', 'nothing', 'of this');
    await bed.outbox.publish(writesOf(1, 3));
    bed.start();
    await bed.untilEmpty();
    expect(await bed.messages(3)).toHaveLength(3);
    const [first, second] = await bed.messages(2, bed.config.kafka.deadLetterTopic);
    expect(first!.value).toEqual(poison);
    const headers = Object.fromEntries(Object.entries(first!.headers!).map(([name, header]) => [name, String(header)]));
    expect(headers).toMatchObject({
      trace: 't1',
      'dlq.reason': 'invalid-json',
      'dlq.stage': 'decode',
      'dlq.original.topic': STREAM,
      'dlq.original.partition': '0',
      'dlq.original.offset': id,
      'dlq.original.timestamp': id!.split('-')[0],
    });
    expect(second!.value).toBeNull();
    expect(bed.warnings()).toEqual(Array(2).fill(expect.stringContaining('went to the dead-letter topic')));
  });

  test('publishes what can be read while the dead-letter topic takes nothing', async () => {
    const bed = await relayBed();
    await bed.redis.xadd(STREAM, '*', 'value', 'poison');
    await bed.outbox.publish(writesOf(1, 3));
    bed.start({ ...bed.config, kafka: { ...bed.config.kafka, deadLetterTopic: `${ulid()}-that-is-not-there` } });
    expect(await bed.messages(3)).toHaveLength(3);
    await until(async () => expect(await bed.redis.xlen(STREAM)).toBe(1));
  });

  test('leaves out headers without end, so that what is sent with them can be read', async () => {
    const bed = await relayBed();
    const without = Array.from({ length: 2_100 }, (_, index) => [`odd:${index}`, 'x']).flat();
    const value = JSON.stringify(failedWrite({ link: 'a', id: 'odd', key: 'k0' }));
    const [first, last] = writesOf(1, 2);
    await bed.outbox.publish([first!]);
    await bed.redis.xadd(STREAM, '*', 'key', 'k0', 'value', value, ...without, 'dlq.redrive.count', '1');
    await bed.redis.xadd(STREAM, '*', 'key', 'p', 'value', 'no record', ...without);
    await bed.outbox.publish([last!]);
    bed.start();
    await bed.untilEmpty();
    const messages = await bed.messages(3);
    expect(idsByKey(messages).get('k0')).toEqual(['w0', 'odd', 'w1']);
    const { headers } = messages[1]!;
    expect(String(headers!['dlq.redrive.count'])).toBe('1');
    expect(Object.keys(headers!)).toHaveLength(2_000);
    const [letter] = await bed.messages(1, bed.config.kafka.deadLetterTopic);
    expect(String(letter!.value)).toBe('no record');
    expect(String(letter!.headers!['dlq.reason'])).toBe('invalid-json');
  });

  test('moves a record that the topic never takes to the dead-letter topic, and publishes those around it', async () => {
    const bed = await relayBed({ maxMessageBytes: 20_000 });
    const [first, last] = writesOf(1, 2);
    const large = failedWrite({ id: 'large', key: 'k0', members: Array(600).fill('m'.repeat(60)) });
    await bed.outbox.publish([first!, large, last!]);
    bed.start();
    await bed.untilEmpty();
    expect(idsByKey(await bed.messages(2)).get('k0')).toEqual(['w0', 'w1']);
    const [letter] = await bed.messages(1, bed.config.kafka.deadLetterTopic);
    expect(JSON.parse(String(letter!.value)).id).toBe('large');
    expect(String(letter!.headers!['dlq.reason'])).toBe('too-large');
  });

  test('shares the outbox with other relays', async () => {
    const bed = await relayBed();
    bed.start();
    bed.start();
    const writes = writesOf(50, 4_000);
    await bed.outbox.publish(writes.slice(0, 1));
    await bed.untilWaiting(2);
    await bed.outbox.publish(writes.slice(1));
    await bed.untilEmpty();
    expect(await bed.redis.xinfo('CONSUMERS', STREAM, RELAY_GROUP)).toHaveLength(2);
    const ids = [...idsByKey(await bed.messages(writes.length)).values()].flat();
    expect(ids.sort()).toEqual(writes.map(({ id }) => id).sort());
  });

  test('that is killed between the acknowledgements of Kafka and its own loses nothing: the next publishes again, same ids', async () => {
    const bed = await relayBed();
    const writes = writesOf(5, 50);
    await bed.outbox.publish(writes);
    const child = fork(PROGRAM, [JSON.stringify(bed.config)]);
    onTestFinished(() => void child.kill('SIGKILL'));
    const exited = new Promise((resolve) => child.once('exit', resolve));
    await new Promise((resolve) => child.once('message', resolve));
    child.kill('SIGKILL');
    await exited;
    expect(await bed.redis.xlen(STREAM)).toBe(50);

    bed.start();
    await bed.untilEmpty();
    const ids = idsByKey(await bed.messages(100));
    for (let key = 0; key < 5; key++) {
      const once = writes.filter((write) => write.key === `k${key}`).map(({ id }) => id);
      expect(ids.get(`k${key}`)).toEqual([...once, ...once]);
    }
  });

  test('that is stopped while Kafka is away leaves all to the next one', async () => {
    const bed = await relayBed();
    const nobody = [`127.0.0.1:${await freePort()}`];
    const stopped = bed.start({ ...bed.config, kafka: { ...bed.config.kafka, brokers: nobody } });
    await bed.outbox.publish(writesOf(1, 3));
    await until(() => expect(bed.warnings().join()).toMatch(/does not take what is in the outbox/));
    await stopped.stop();
    expect(await bed.redis.xlen(STREAM)).toBe(3);
    bed.start();
    await bed.untilEmpty();
    expect(await bed.messages(3)).toHaveLength(3);
  });

  test('tells of an outbox that was deleted as a gap of the links of its source, and goes on meanwhile', async () => {
    const bed = await relayBed();
    const relay = bed.start();
    await bed.outbox.publish(writesOf(1, 1));
    await bed.untilEmpty();
    await bed.redis.del(STREAM);
    await until(() => expect(bed.gaps).toEqual([{ id: expect.stringContaining(' deleted '), links: ['a', 'b'] }]));
    await bed.outbox.publish(writesOf(1, 1));
    await bed.untilEmpty();
    await relay.stop();
    expect(bed.gaps).toHaveLength(1);
  });

  test('waits for a source that is away, says so once, and takes up what is there then', async () => {
    const bed = await relayBed();
    const proxy = await startProxy({ target: { host: '127.0.0.1', port: bed.port } });
    onTestFinished(() => proxy.close());
    proxy.cut();
    await bed.outbox.publish(writesOf(1, 1));
    const source = { url: `redis://127.0.0.1:${proxy.port}` };
    const relay = bed.start({ ...bed.config, links: bed.config.links.map((link) => ({ ...link, source })) });
    await until(() =>
      expect(bed.warnings()).toEqual([
        expect.stringMatching(/^keymend:outbox at source of link a and b \(\S+\) cannot be read: .*No record is lost/),
      ]),
    );
    proxy.restore();
    await bed.untilEmpty();
    expect(await bed.messages(1)).toHaveLength(1);
    expect(bed.warnings()).toHaveLength(1);
    await relay.stop();
    await expect(relay.finished).resolves.toBeUndefined();
  });
});

test('while Kafka is down, records wait in the outbox; then all arrive, once per id, in the order of each key', async () => {
  const kafka = await startOwnKafka();
  const bed = await relayBed({ brokers: kafka.brokers });
  const writes = writesOf(11, 3_000);
  bed.start();
  await bed.outbox.publish(writes.slice(0, 500));
  await bed.untilEmpty();
  await kafka.stop();
  await bed.outbox.publish(writes.slice(500));
  await until(() =>
    expect(bed.warnings()).toEqual([expect.stringMatching(/does not take what is in the outbox.*No record is lost/)]),
  );
  expect(await bed.redis.xlen(STREAM)).toBe(2_500);

  await kafka.start();
  await bed.untilEmpty();
  const ids = idsByKey(await bed.messages(3_000));
  for (let key = 0; key < 11; key++) {
    const expected = writes.filter((write) => write.key === `k${key}`).map(({ id }) => id);
    expect([...new Set(ids.get(`k${key}`))]).toEqual(expected);
  }
  expect(bed.logs()).toContainEqual(expect.stringMatching(/^over.*outbox/));
});
