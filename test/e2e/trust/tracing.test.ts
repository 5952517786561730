/** Traces, from the write of an application to the repair, with a real bridge and worker. */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { context, trace } from '@opentelemetry/api';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createDualWriter, createKafkaRecordSink, mirrorOptions, traceFailedWrites } from '../../../src/index.js';
import { shownKey } from '../../../src/privacy.js';
import { retry } from '../../../workflows/messages.js';
import { type CollectedSpan, type Collector, registerTracer, startCollector } from '../../support/collector.js';
import { eventually } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';
import { freePort } from '../../support/redis.js';
import { stack } from '../../support/services.js';

const RULE = { privacy: 'hmac', secret: 'only for this test' } as const;
const KEY = 'patient:4711';

let sandbox: Sandbox;
let collector: Collector;
beforeEach(async () => {
  [sandbox, collector] = await Promise.all([createSandbox(), startCollector()]);
});
afterEach(async () => {
  await sandbox?.close();
  await collector?.close();
});

const isEqual = async (key = KEY) => expect(await sandbox.target.client.get(key)).toBe('new');
const spanNamed = (name: string) => collector.spans.find((span) => span.name.startsWith(name))!;
/** The names from the first span of a trace to this one. */
function wayTo(span: CollectedSpan): string[] {
  const parent = collector.spans.find(({ spanId }) => spanId === span.parentSpanId);
  return [...(parent ? wayTo(parent) : []), span.name];
}

it('a key is one trace from the write of the application to the repair, and no span has the key', async () => {
  const provider = registerTracer(collector);
  sandbox.configure({ config: { tracing: { otlp: collector.url, ...RULE } } });
  const keymend = await sandbox.start('start');
  const mirror = new Redis({ ...mirrorOptions(200), host: '127.0.0.1', port: await freePort() });
  mirror.on('error', () => {});
  const records = createKafkaRecordSink({ kafka: { brokers: stack().kafka.brokers }, topic: sandbox.topic });
  const writer = createDualWriter({
    link: 'east-to-west',
    source: sandbox.source.client,
    target: mirror,
    records,
    origin: 'orders-api',
    onError: (error) => expect.fail(error.message),
    tracing: traceFailedWrites(RULE),
  });
  const order = trace.getTracer('orders-api').startSpan('order');
  await context.with(trace.setSpan(context.active(), order), () => writer.set(KEY, 'new'));
  order.end();
  await eventually(isEqual);
  await writer.close();
  await Promise.all([records.close(), provider.shutdown()]);
  mirror.disconnect();
  await keymend.stop('SIGTERM');

  const repair = spanNamed('reconcile');
  expect(wayTo(repair)).toEqual(['order', 'failed write', `process ${sandbox.topic}`, 'reconcile']);
  expect(new Set(collector.spans.map(({ traceId }) => traceId)).size).toBe(1);
  expect(spanNamed('process').attributes).toMatchObject({
    'messaging.system': 'kafka',
    'messaging.destination.name': sandbox.topic,
    'keymend.link': 'east-to-west',
  });
  expect(repair.attributes).toMatchObject({
    'db.system.name': 'redis',
    'server.address': '127.0.0.1',
    'keymend.outcome': 'repaired',
  });
  for (const name of ['failed write', 'process', 'reconcile'])
    expect(spanNamed(name).attributes['keymend.key']).toBe(shownKey(RULE)(KEY));
  for (const body of collector.bodies) expect(body.includes(KEY)).toBe(false);
});

it('is switched on under escalated keys: their workflows go on, and their next attempts are traced', async () => {
  const keys = Array.from({ length: 5 }, (_, index) => `${KEY}:${index}`);
  const escalated = { link: { retry: { maximumAttempts: 1 } } };
  const tracing = { otlp: collector.url, ...RULE };
  const { source, target, client, prefix, producer, topic } = sandbox;
  sandbox.configure(escalated);
  const before = await sandbox.start('start');
  await source.client.mset(...keys.flatMap((key) => [key, 'new']));
  await target.client.replicaof('127.0.0.1', 1);
  await producer.send({ topic, messages: keys.map((key) => recordOf(key)) });
  const handles = keys.map((key) => client.workflow.getHandle(prefix + key));
  const untilPending = (pending: number) =>
    eventually(async () => {
      for (const handle of handles) expect(await handle.query('status')).toMatchObject({ state: 'escalated', pending });
    });
  await untilPending(1);
  await before.stop('SIGTERM');

  sandbox.configure({ ...escalated, config: { tracing } });
  const traced = await sandbox.start('start');
  await producer.send({ topic, messages: keys.map((key) => recordOf(key)) });
  await untilPending(2);
  await target.client.replicaof('NO', 'ONE');
  await Promise.all(handles.map((handle) => handle.signal(retry)));
  await Promise.all(handles.map((handle) => handle.result()));
  await traced.stop('SIGTERM');

  for (const handle of handles) {
    const { events } = await handle.fetchHistory();
    expect(events!.filter(({ workflowTaskFailedEventAttributes }) => workflowTaskFailedEventAttributes)).toEqual([]);
  }
  const repairs = collector.spans.filter(({ attributes }) => attributes['keymend.outcome'] === 'repaired');
  expect(repairs.map(wayTo)).toEqual(keys.map(() => [`process ${topic}`, expect.stringMatching(/^reconcile/)]));
  for (const body of collector.bodies) expect(body.includes(KEY)).toBe(false);
});

it('a batch of many keys is a trace of its own, linked to those of its records', async () => {
  const keys = Array.from({ length: 400 }, (_, index) => `${KEY}:${index}`);
  const { source, target, producer, topic } = sandbox;
  sandbox.configure({ config: { tracing: { otlp: collector.url, ...RULE }, surge: { enter: 100, leave: 10 } } });
  const traceIds = keys.map(() => randomBytes(16).toString('hex'));
  const messages = keys.map((key, index) => ({
    ...recordOf(key),
    headers: { traceparent: `00-${traceIds[index]}-${randomBytes(8).toString('hex')}-01` },
  }));
  await source.client.mset(...keys.flatMap((key) => [key, 'new']));
  await producer.send({ topic, messages });
  const keymend = await sandbox.start('start');
  await eventually(async () => expect(await target.client.dbsize()).toBeGreaterThanOrEqual(keys.length));
  await keymend.stop('SIGTERM');

  const attempt = spanNamed('reconcileBatch');
  expect(wayTo(attempt)).toEqual([`process ${topic}`, 'reconcileBatch']);
  const { links } = collector.spans.find(({ spanId }) => spanId === attempt.parentSpanId)!;
  expect(links.length).toBeGreaterThan(0);
  expect(traceIds).toEqual(expect.arrayContaining(links.map(({ traceId }) => traceId)));
});

it('a collector that never comes to an end does not hold up the end of a process', async () => {
  const server = createServer((_request, response) => {
    const drip = setInterval(() => response.write('.'), 500);
    response.on('close', () => clearInterval(drip));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  sandbox.configure({ config: { tracing: { otlp: `http://127.0.0.1:${port}`, ...RULE } } });
  const keymend = await sandbox.start('start');
  await sandbox.source.client.set(KEY, 'new');
  await sandbox.producer.send({ topic: sandbox.topic, messages: [recordOf(KEY)] });
  await eventually(isEqual);
  expect(await keymend.stop('SIGTERM')).toBe(0);
  expect(keymend.log()).toContain('takes no spans: no answer within 4 s');
  server.closeAllConnections();
  server.close();
});
