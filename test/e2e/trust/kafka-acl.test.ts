/**
 * Users of Kafka with the rights that docs/security.md lists and no others: they are enough, and
 * each is needed.
 */
import { Redis } from 'ioredis';
import { type Logger, pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type KafkaConfig, parseConfig } from '../../../src/config.js';
import { openTopicLetters } from '../../../src/dead-letters/topic-letters.js';
import { createDualWriter, createKafkaRecordSink, mirrorOptions } from '../../../src/index.js';
import { topicBacklog } from '../../../src/kafka/backlog.js';
import { checkKafka } from '../../../src/kafka/check.js';
import { readersOfTopic } from '../../../src/kafka/readers.js';
import { type AclBroker, type Right, startAclBroker } from '../../support/acl-broker.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';
import { createTopics } from '../../support/topics.js';

const LINK = 'acl';
const [TOPIC, LETTERS, GROUP] = ['failed', 'failed.dlq', 'bridge'];
const [readTopic, writeTopic, readGroup, readLetters, writeLetters]: Right[] = [
  ['READ', 'TOPIC', TOPIC],
  ['WRITE', 'TOPIC', TOPIC],
  ['READ', 'GROUP', GROUP],
  ['READ', 'TOPIC', LETTERS],
  ['WRITE', 'TOPIC', LETTERS],
] as const satisfies Right[];
const settings: readonly Right[] = [TOPIC, LETTERS].map((name) => ['DESCRIBE_CONFIGS', 'TOPIC', name]);
/** As the table of docs/security.md has them. */
const BRIDGE = [readTopic!, readGroup!, writeLetters!, writeTopic!, ...settings];
const WORKER = [writeLetters!, readLetters!];
const OPERATOR: Right[] = [['DESCRIBE', 'TOPIC', TOPIC], ['DESCRIBE', 'GROUP', GROUP], readLetters!];

const without = (all: readonly Right[], ...left: readonly (Right | undefined)[]) =>
  all.filter((right) => !left.includes(right));

let broker: AclBroker;
beforeAll(async () => {
  broker = await startAclBroker({
    bridge: BRIDGE,
    bridgeOfNoTopic: without(BRIDGE, readTopic),
    bridgeOfNoGroup: without(BRIDGE, readGroup),
    bridgeOfNoLetters: without(BRIDGE, writeLetters),
    bridgeOfNoRelay: without(BRIDGE, writeTopic),
    bridgeOfNoSettings: without(BRIDGE, ...settings),
    worker: WORKER,
    workerThatReads: without(WORKER, writeLetters),
    workerThatWrites: without(WORKER, readLetters),
    operator: OPERATOR,
    application: [writeTopic!],
    nobody: [],
  });
  await createTopics(broker.admin, { topic: TOPIC }, { topic: LETTERS });
});
afterAll(() => broker?.stop());

const kafkaAs = (user: string) => ({ ...broker.as(user), topic: TOPIC, deadLetterTopic: LETTERS, groupId: GROUP });
const sinkOf = (user: string) => createKafkaRecordSink({ kafka: broker.as(user), topic: TOPIC });

describe('the rights of docs/security.md', () => {
  let sandbox: Sandbox;
  beforeAll(async () => {
    sandbox = await createSandbox();
  });
  afterAll(() => sandbox?.close());

  function become(user: string): void {
    sandbox.configure({ link: { name: LINK, retry: { maximumAttempts: 1 } }, kafka: kafkaAs(user) });
  }

  async function dlq(...args: string[]) {
    const { stdout, stderr } = await sandbox.keymend('dlq', ...args, '--output', 'json');
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout);
  }

  it('are enough for a bridge, a worker, an application and who asks', async () => {
    const services = [];
    for (const user of ['bridge', 'worker']) {
      become(user);
      services.push(await sandbox.start(user));
    }
    become('operator');
    const { source, target } = sandbox;
    // By the application's own sink, and by the relay.
    const clients = [new Redis(source.url, { protocol: 2 }), new Redis(target.url, mirrorOptions(500))] as const;
    const records = sinkOf('application');
    const redis = createDualWriter({
      link: LINK,
      source: clients[0],
      target: clients[1],
      records,
      origin: 'app',
      onError: () => {},
    });
    await target.client.config('SET', 'min-replicas-to-write', '1');
    await redis.set('written', '1');
    await source.client.set('relayed', '1');
    const { key, value } = recordOf('relayed', { link: LINK });
    await source.client.xadd('keymend:outbox', '*', 'key', key, 'value', value);
    // Both are given up on, and a record that can't be read is not forwarded.
    const producer = broker.kafka.producer();
    await producer.connect();
    await producer.send({ topic: TOPIC, messages: [{ key: 'x', value: 'no JSON' }] });
    await producer.disconnect();
    await eventually(async () => expect((await dlq('group')).letters).toBe(3));
    await target.client.config('SET', 'min-replicas-to-write', '0');
    const { counts } = await dlq('redrive', '--as', 'ann', '--why', 'mended');
    expect(counts).toMatchObject({ seen: 3, unusable: 1, failedAgain: 0 });
    await eventually(async () => expect(await target.client.mget('written', 'relayed')).toEqual(['1', '1']));
    const status = JSON.parse((await sandbox.keymend('status', '--output', 'json')).stdout);
    expect(status).toMatchObject({ bridges: { count: 1 }, waiting: { lag: { records: 0 } } });
    expect(status.waiting.deadLetters.count).toBeGreaterThan(0);
    await redis.close();
    await records.close();
    for (const client of clients) client.disconnect();
    for (const service of services) {
      expect(await service.stop()).toBe(0);
      expect(service.log()).not.toMatch(/authoriz|may not|not visible/);
    }
  });
});

/** Lines that warn. */
let warnings: string[];
function asked(user: string): [KafkaConfig, Logger] {
  warnings = [];
  const write = (line: string) => void warnings.push(JSON.parse(line).msg);
  const links = [{ name: LINK, source: { url: 'redis://a' }, target: { url: 'redis://b' } }];
  const { kafka } = parseConfig(JSON.stringify({ kafka: kafkaAs(user), links }), 'test', {});
  return [kafka as KafkaConfig, pino({ level: 'warn' }, { write })];
}

const allow = (user: string, operation: string, of: string, name: string) =>
  `allow it, for example: kafka-acls.sh --bootstrap-server ${broker.as(user).brokers} --add --allow-principal User:${user} ` +
  `--operation ${operation} --${of} ${name}`;
const lineOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'nothing',
    ({ message }: Error) => message,
  );

describe('a right that is missing', () => {
  it.each([
    ['bridge', 'bridgeOfNoTopic', 'READ', 'topic', TOPIC],
    ['bridge', 'bridgeOfNoGroup', 'READ', 'group', GROUP],
    ['bridge', 'bridgeOfNoLetters', 'WRITE', 'topic', LETTERS],
    ['worker', 'workerThatReads', 'WRITE', 'topic', LETTERS],
  ] as const)('ends the start of a %s as %s: %s %s %s', async (process, user, operation, of, name) => {
    const line = await lineOf(checkKafka(...asked(user), [process]));
    const at = `Kafka ${broker.as(user).brokers}`;
    expect(line).toBe(
      `user "${user}" may not ${operation} the ${of} ${name} at ${at}; ${allow(user, operation, of, name)}`,
    );
  });

  it.each([
    ['bridge', 'bridgeOfNoRelay', 'WRITE', TOPIC, 'what is in an outbox stays there'],
    ['worker', 'workerThatWrites', 'READ', LETTERS, 'no redrive works, and a letter may be there twice'],
  ] as const)(
    'without which all else works is a warning to a %s as %s',
    async (process, user, operation, name, without) => {
      await checkKafka(...asked(user), [process]);
      expect(warnings[0]).toContain(`may not ${operation} the topic ${name} at `);
      expect(warnings[0]).toContain(`: ${without}; ${allow(user, operation, 'topic', name)}`);
    },
  );

  it('to see the settings of the topics is a warning, too', async () => {
    await checkKafka(...asked('bridgeOfNoSettings'), ['bridge']);
    expect(warnings).toMatchObject([expect.stringContaining('is not visible to this user')]);
  });

  it('of several ones is one line for all of them', async () => {
    const line = await lineOf(checkKafka(...asked('nobody')));
    expect(line).toContain(
      `may not READ the topic ${TOPIC} and READ the group ${GROUP} and WRITE the topic ${LETTERS} at `,
    );
    expect(line.match(/kafka-acls\.sh/g)).toHaveLength(3);
  });

  it('is named to an application at once, and to who asks', async () => {
    const sink = sinkOf('worker');
    const mayNotWrite = `allow this user to WRITE the topic: kafka-acls.sh --add --operation WRITE --topic ${TOPIC}`;
    const record = JSON.parse(recordOf('k', { link: LINK }).value);
    expect(await lineOf(sink.publish([record]))).toContain(mayNotWrite);
    await sink.close();

    const letters = openTopicLetters(...asked('bridge'));
    const mayNotRead = `allow this user to READ the topic: kafka-acls.sh --add --operation READ --topic ${LETTERS}`;
    expect(await lineOf(letters.letters({}).next())).toContain(mayNotRead);
    await letters.disconnect();

    const ofGroup = `may not DESCRIBE the group ${GROUP}`;
    expect(await lineOf(readersOfTopic(...asked('worker')))).toContain(ofGroup);
    const { lag, deadLetters } = await topicBacklog(...asked('worker'));
    expect((lag as Error).message).toContain(`--operation DESCRIBE --topic ${TOPIC}`);
    // One that may be seen is, also beside one that may not.
    expect(deadLetters).toBeGreaterThanOrEqual(0);
    expect(((await topicBacklog(...asked('application'))).lag as Error).message).toContain(ofGroup);
  });
});
