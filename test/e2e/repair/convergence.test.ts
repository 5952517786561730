import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generatedCases } from '../../support/cases.js';
import { compareRedis } from '../../support/compare.js';
import { until } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';

/** 2,000 in a full run: each is a workflow, which is most of the time. */
const KEYS = Math.min(2_000, generatedCases(500));

/** A net: Temporal's server, all of whose time it is, takes a minute where nothing else runs. */
const MANY_KEYS_MS = 1_200_000;

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await createSandbox();
});
afterEach(() => sandbox?.close());

async function differences(): Promise<number> {
  return (await compareRedis(sandbox.source.client, sandbox.target.client)).length;
}

async function workflows(state: string): Promise<number> {
  const query = `TaskQueue = "${await taskQueue()}" AND ExecutionStatus = "${state}"`;
  return (await sandbox.client.workflow.count(query)).count;
}

async function taskQueue(): Promise<string> {
  return `keymend-${sandbox.prefix.slice(0, -1)}`;
}

describe('failed writes on Kafka', () => {
  it(
    `of ${KEYS} keys, with duplicates and out of order, all end in equal Redis and none is lost`,
    async () => {
      const { source, target, producer, topic } = sandbox;
      const keys = Array.from({ length: KEYS }, (_, i) => `user:${i}`);
      const write = source.client.pipeline();
      const damage = target.client.pipeline();
      for (const [i, key] of keys.entries()) {
        if (i % 10 === 0) write.del(key);
        else if (i % 3 === 0) write.hset(key, { name: `n${i}`, age: i });
        else if (i % 3 === 1) write.set(key, `v${i}`, 'EX', 3600 + i);
        else write.rpush(key, `a${i}`, `b${i}`);
        if (i % 4 !== 1) damage.set(key, 'stale');
      }
      await Promise.all([write.exec(), damage.exec()]);
      // So many keys more on the source that its deletes are beyond suspicion.
      await source.client.eval("for i=1,3000 do redis.call('SET','other:'..i,i) end return 1", 0);
      await target.client.eval("for i=1,3000 do redis.call('SET','other:'..i,i) end return 1", 0);

      await sandbox.start('start');
      const messages = keys.flatMap((key) => {
        const one = recordOf(key);
        return [one, recordOf(key), one];
      });
      messages.sort(() => Math.random() - 0.5);
      for (let i = 0; i < messages.length; i += 1_000) {
        await producer.send({ topic, messages: messages.slice(i, i + 1_000) });
      }
      // A key may have several runs: so many may be through while others have not begun.
      await until(
        async () =>
          (await workflows('Completed')) >= keys.length &&
          (await workflows('Running')) === 0 &&
          (await differences()) === 0,
      );

      const seen = new Set<string>();
      for await (const { workflowId } of sandbox.client.workflow.list({
        query: `TaskQueue = "${await taskQueue()}"`,
      })) {
        seen.add(workflowId);
      }
      expect(seen).toEqual(new Set(keys.map((key) => sandbox.prefix + key)));
    },
    MANY_KEYS_MS,
  );

  it('whose worker is killed in the middle of an attempt are repaired by the next worker', async () => {
    const { source, target, producer, topic } = sandbox;
    await source.client.set('user:42', 'new');
    await target.client.set('user:42', 'old');
    await sandbox.start('bridge');
    const first = await sandbox.start('worker');
    target.freeze();
    await producer.send({ topic, messages: [recordOf('user:42')] });
    const handle = sandbox.client.workflow.getHandle(`${sandbox.prefix}user:42`);
    // The attempt hangs on the frozen target once the workflow task has started.
    await until(async () => {
      const history = await handle.fetchHistory().catch(() => undefined);
      return history?.events?.some(({ workflowTaskStartedEventAttributes: started }) => started) === true;
    });
    await first.stop('SIGKILL');
    target.thaw();
    await sandbox.start('worker');
    await handle.result();
    expect(await target.client.get('user:42')).toBe('new');
  });

  it('of a key with any bytes end in equal Redis, under a workflow ID that names its hash', async () => {
    const { source, target, producer, topic } = sandbox;
    const key = Buffer.from([0, 0xff, 0xfe, 10, 42]);
    await source.client.set(key, Buffer.from([0x80, 0, 0xff]));
    await sandbox.start('start');
    const value = JSON.stringify({
      specVersion: 1,
      id: randomUUID(),
      link: 'east-to-west',
      key: key.toString('base64'),
      encoding: 'base64',
      failedAt: new Date().toISOString(),
    });
    await producer.send({ topic, messages: [{ key, value }] });
    await until(async () => (await differences()) === 0);
    expect(await target.client.getBuffer(key)).toEqual(Buffer.from([0x80, 0, 0xff]));
    const listed: string[] = [];
    await until(async () => {
      for await (const { workflowId } of sandbox.client.workflow.list({
        query: `TaskQueue = "${await taskQueue()}"`,
      })) {
        listed.push(workflowId);
      }
      return listed.length > 0;
    });
    expect(listed[0]).toMatch(/^[0-9a-f]+\/sha256:[0-9a-f]{64}$/);
  });

  it('leave no value of a user in Kafka, in Temporal or in a log', async () => {
    const { source, target, producer, topic } = sandbox;
    const secret = `secret-${randomUUID()}`;
    await source.client.set('user:1', secret);
    await source.client.hset('user:2', 'name', secret);
    // The second key can't be written on the target, so that its failure shows wherever failures
    // show.
    sandbox.configure({ link: { retry: { maximumAttempts: 2, initialInterval: '10ms' } } });
    const running = await sandbox.start('start', '--log-level', 'trace');
    await producer.send({ topic, messages: [recordOf('user:1')] });
    await until(async () => (await target.client.get('user:1')) === secret);
    // Of nobody: a copy of the source would be equal.
    await target.client.replicaof('127.0.0.1', '1');
    await producer.send({ topic, messages: [recordOf('user:2')] });
    const handle = sandbox.client.workflow.getHandle(`${sandbox.prefix}user:2`);
    await until(async () => {
      const found = await handle.describe().catch(() => undefined);
      return found?.searchAttributes.KeymendState?.[0] === 'escalated';
    });
    const histories = await Promise.all(
      ['user:1', 'user:2'].map((key) => sandbox.client.workflow.getHandle(sandbox.prefix + key).fetchHistory()),
    );
    for (const history of histories) expect(bytesIn(history)).not.toContain(secret);
    expect(running.log()).not.toContain(secret);
    expect(await deadLetters()).not.toContain(secret);
  });
});

/** Every payload and text of a history, payloads as the bytes they carry. */
function bytesIn(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
  if (typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null) return '';
  return Object.values(value).map(bytesIn).join(' ');
}

/** All that the dead-letter topic holds, once it holds something. */
async function deadLetters(): Promise<string> {
  const consumer = sandbox.kafka.consumer({ groupId: randomUUID() });
  await consumer.connect();
  await consumer.subscribe({ topic: sandbox.deadLetterTopic, fromBeginning: true });
  const text = await new Promise<string>((resolve) => {
    void consumer.run({
      eachMessage: async ({ message }) => resolve(`${message.value} ${JSON.stringify(message.headers)}`),
    });
  });
  await consumer.disconnect();
  return text;
}
