/** A secret in every value, key and password: where it is after all main paths, and where not. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, it, onTestFinished } from 'vitest';
import { createDualWriter, createKafkaRecordSink, mirrorOptions, traceFailedWrites } from '../../../src/index.js';
import { registerTracer, startCollector } from '../../support/collector.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';
import { startRedis } from '../../support/redis.js';
import { stack } from '../../support/services.js';
import { startReceiver } from '../../support/webhook-receiver.js';

const [VALUE, KEY, PASSWORD] = ['value', 'key', 'password'].map((of) => `canary-${of}-${randomUUID()}`) as [
  string,
  string,
  string,
];
const RULE = { privacy: 'hmac', secret: `${PASSWORD}-of-the-hmac` } as const;

it('is in no span, metric, log, history, letter, report, message or error, but keys where they have to be', async () => {
  const { sandbox, collector, receiver, configure } = await createBed();
  const { source, target, producer, topic, deadLetterTopic } = sandbox;
  const config = configure();
  const keymend = await sandbox.start('start', '--log-level', 'trace');
  const verbs: string[] = [];
  const verb = async (...args: string[]) => {
    const { stdout, stderr } = await sandbox.keymend(...args);
    verbs.push(stdout, stderr);
  };

  await dualWrite(sandbox, collector.url);
  await eventually(async () => {
    expect(await target.client.get(`${KEY}:string`)).toBe(VALUE);
    expect(await target.client.hgetall(`${KEY}:hash`)).toEqual({ field: VALUE });
  });
  // Of this one Temporal has no workflow (any more), and says so with its ID.
  for (const { client } of [source, target]) await client.set(`${KEY}:forgotten`, VALUE);
  await target.client.replicaof('127.0.0.1', 1);
  await source.client.set(`${KEY}:escalated`, VALUE);
  const link = sandbox.prefix.slice(0, -1);
  const broken = { key: `${KEY}:broken`, value: `{"value":"${VALUE}"` };
  const escalated = recordOf(`${KEY}:escalated`, {
    link,
    id: `${KEY}:id`,
    value: VALUE,
    error: { message: 'refused' },
  });
  await producer.send({ topic, messages: [broken, escalated] });
  const forgotten = {
    ...recordOf(`${KEY}:forgotten`, { link }),
    headers: { 'dlq.reason': 'attempts-exhausted', 'dlq.link': link },
  };
  await producer.send({ topic: deadLetterTopic, messages: [forgotten] });
  await eventually(async () => expect(await countIn(sandbox.kafka, deadLetterTopic)).toBe(3));
  await eventually(() => expect(receiver.received.length).toBeGreaterThan(0));
  const looks = ['dlq list', 'dlq show 0/0', 'dlq show 0/1', 'escalations --list', `status ${KEY}:escalated`];
  await Promise.all(looks.map((args) => verb(...args.split(' '))));
  await target.client.replicaof('NO', 'ONE');
  await source.client.set(`${KEY}:swept`, VALUE);
  const report = join(dirname(config), 'report.json');
  await verb('sweep', '--report', report);
  await verb('dlq', 'redrive');
  await eventually(async () => expect(await target.client.get(`${KEY}:escalated`)).toBe(VALUE));
  await eventually(() => expect(keymend.log()).toContain('was not told that its key is equal'));
  const metrics = await metricsOf(keymend.log());
  await keymend.stop('SIGTERM');
  configure(`${PASSWORD}-that-is-wrong`);
  const [failedWrites, letters, histories] = await Promise.all([
    messagesIn(sandbox, topic),
    messagesIn(sandbox, deadLetterTopic),
    historiesOf(sandbox),
    verb('doctor'),
    verb('worker'),
  ]);
  // What a producer has put into its record is there, and bytes that are no record are kept.
  const kept = (value: string) => (value === broken.value || value === escalated.value ? '' : value);
  const withKeys = {
    histories,
    records: failedWrites.map(({ value, ...rest }) => JSON.stringify({ ...rest, value: kept(value) })).join(),
    letters: letters.map(({ value, ...rest }) => JSON.stringify({ ...rest, value: kept(value) })).join(),
    report: readFileSync(report, 'utf8'),
    verbs: verbs.join('\n'),
  };
  const spans = collector.bodies.map(String).join('\n');
  const messages = JSON.stringify(receiver.received);
  const withoutKeys = { spans, metrics, log: keymend.log(), messages };
  const all = Object.entries({ ...withKeys, ...withoutKeys });
  const having = (secret: string) => all.filter(([, text]) => text.includes(secret)).map(([name]) => name);
  expect(having(VALUE)).toEqual([]);
  expect(having(PASSWORD)).toEqual([]);
  expect(having(KEY)).toEqual(Object.keys(withKeys));
  // What is told to a webhook is gathered in a history.
  expect(having('hmac:')).toEqual(['histories', 'spans', 'log', 'messages']);
});

async function createBed() {
  const [sandbox, collector, receiver] = await Promise.all([createSandbox(), startCollector(), startReceiver()]);
  onTestFinished(async () => {
    await Promise.all([sandbox.close(), collector.close(), receiver.close()]);
  });
  for (const { client } of [sandbox.source, sandbox.target]) await client.config('SET', 'requirepass', PASSWORD);
  const configure = (password = PASSWORD) => {
    const [source, target] = [sandbox.source, sandbox.target].map(({ port }) => ({ url: urlOf(port, password) }));
    const webhook = { url: receiver.url, secret: `${PASSWORD}-of-the-webhook`, allowPrivate: true, gather: '1s' };
    return sandbox.configure({
      // The workflows of a link's sweep and notices have its name, and the stack serves others.
      link: {
        ...{ name: sandbox.prefix.slice(0, -1), source, target },
        ...{ retry: { maximumAttempts: 1 }, escalation: { retryEvery: '1h', webhook } },
      },
      config: {
        http: { port: 0, token: `${PASSWORD}-of-the-metrics` },
        tracing: { otlp: collector.url, ...RULE },
      },
    });
  };
  return { sandbox, collector, receiver, configure };
}

const urlOf = (port: number, password: string) => `redis://:${password}@127.0.0.1:${port}`;

/** To a target that does not know some commands: its answer quotes their arguments. */
async function dualWrite({ source, topic, prefix }: Sandbox, url: string): Promise<void> {
  const hidden = ['SET', 'HSET'].flatMap((command) => ['--rename-command', command, '']);
  const mirror = await startRedis([...hidden, '--requirepass', PASSWORD]);
  const provider = registerTracer({ url });
  const clients = [
    new Redis(urlOf(source.port, PASSWORD)),
    new Redis(urlOf(mirror.port, PASSWORD), mirrorOptions(2_000)),
  ];
  const records = createKafkaRecordSink({ kafka: { brokers: stack().kafka.brokers }, topic });
  const writer = createDualWriter({
    link: prefix.slice(0, -1),
    source: clients[0]!,
    target: clients[1]!,
    records,
    origin: 'canary',
    onError: (error) => expect.fail(error.message),
    tracing: traceFailedWrites(RULE),
  });
  await eventually(() => expect(clients[1]!.status).toBe('ready'));
  await writer.set(`${KEY}:string`, VALUE);
  await writer.hset(`${KEY}:hash`, { field: VALUE });
  expect(await writer.close()).toEqual({ notRecorded: [], unanswered: [] });
  for (const client of clients) client.disconnect();
  await Promise.all([records.close(), provider.shutdown(), mirror.stop()]);
}

async function metricsOf(log: string): Promise<string> {
  const [url] = /http:\/\/[\d.:]+(?= has \/livez)/.exec(log)!;
  const headers = { authorization: `Bearer ${PASSWORD}-of-the-metrics` };
  const response = await fetch(`${url}/metrics`, { headers });
  const text = await response.text();
  expect(text).toContain('keymend_reconciles_total');
  return text;
}

async function countIn(kafka: Sandbox['kafka'], topic: string): Promise<number> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    return (await admin.fetchTopicOffsets(topic)).reduce((sum, { high }) => sum + Number(high), 0);
  } finally {
    await admin.disconnect();
  }
}

async function messagesIn({ kafka }: Sandbox, topic: string) {
  const count = await countIn(kafka, topic);
  const consumer = kafka.consumer({ groupId: randomUUID() });
  await consumer.connect();
  const messages: { key: string; value: string; headers: object }[] = [];
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message: { key, value, headers = {} } }) => {
        const texts = Object.entries(headers).map(([name, header]) => [name, String(header)]);
        messages.push({ key: String(key), value: String(value), headers: Object.fromEntries(texts) });
      },
    });
    await eventually(() => expect(messages.length).toBeGreaterThanOrEqual(count));
    return messages;
  } finally {
    await consumer.disconnect();
  }
}

/** Of all workflows, as texts. */
async function historiesOf({ client, prefix }: Sandbox): Promise<string> {
  const texts: string[] = [];
  const query = `TaskQueue = "keymend-${prefix.slice(0, -1)}"`;
  for await (const { workflowId, runId } of client.workflow.list({ query }))
    gather(await client.workflow.getHandle(workflowId, runId).fetchHistory(), texts);
  return texts.join('\n');
}

function gather(part: unknown, texts: string[]): void {
  if (typeof part === 'string') texts.push(part);
  else if (part instanceof Uint8Array) texts.push(Buffer.from(part).toString());
  else if (typeof part === 'object' && part !== null) for (const inner of Object.values(part)) gather(inner, texts);
}
