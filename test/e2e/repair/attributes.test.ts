/** Search attributes help people to find keys; none of them stands in the way of a repair. */
import { randomUUID } from 'node:crypto';
import { Client, type Connection } from '@temporalio/client';
import type { KafkaMessage } from 'kafkajs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { eventually, NET_MS, until } from '../../support/eventually.js';
import { createSandbox, recordOf, type Sandbox } from '../../support/keymend.js';

const NAMES = ['KeymendLink', 'KeymendState', 'KeymendError'];
const [KEYWORD, INT] = [2, 3]; // IndexedValueType

let sandbox: Sandbox;
let namespace: string;
let client: Client;
beforeEach(async () => {
  sandbox = await createSandbox();
  namespace = `attributes-${randomUUID().slice(0, 8)}`;
  client = new Client({ connection: sandbox.client.connection, namespace });
  const { workflowService } = connection();
  const workflowExecutionRetentionPeriod = { seconds: 86_400 as never };
  await workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod });
  await eventually(() => workflowService.describeNamespace({ namespace }));
}, NET_MS);
afterEach(async () => {
  await connection().operatorService.deleteNamespace({ namespace });
  await sandbox.close();
});

const connection = () => sandbox.client.connection as Connection;
const stateOf = async (key: string) => {
  const { code, stdout } = await sandbox.keymend('status', key, '--output', 'json');
  return code === 0 ? (JSON.parse(stdout) as { state: string }).state : null;
};

async function register(type: number): Promise<void> {
  const searchAttributes = Object.fromEntries(NAMES.map((name) => [name, type]));
  await eventually(() => connection().operatorService.addSearchAttributes({ namespace, searchAttributes }));
}

/** Starts all that keymend is; the target takes no writes, and a key has one attempt. */
async function start() {
  sandbox.configure({
    link: { retry: { maximumAttempts: 1, initialInterval: '1s', maximumInterval: '1s' } },
    config: {
      temporal: {
        taskQueue: namespace,
        namespace,
        address: (connection().options as { address?: string }).address,
      },
    },
  });
  await sandbox.source.client.mset('a', 'new', 'b', 'new');
  await sandbox.target.client.config('SET', 'min-replicas-to-write', '1');
  return sandbox.start('start');
}

const fail = (key: string) => sandbox.producer.send({ topic: sandbox.topic, messages: [recordOf(key)] });

/** Its last dead letter, published again by hand. */
async function redrive(key: string, count: number): Promise<void> {
  const letter = await letterOf(key);
  const headers = { ...letter.headers, 'dlq.redrive.count': `${count}` };
  await sandbox.producer.send({ topic: sandbox.topic, messages: [{ key, value: letter.value, headers }] });
}

async function letterOf(key: string): Promise<KafkaMessage> {
  const consumer = sandbox.kafka.consumer({ groupId: `reader-${randomUUID()}`, maxWaitTimeInMs: 100 });
  await consumer.connect();
  try {
    await consumer.subscribe({ topics: [sandbox.deadLetterTopic], fromBeginning: true });
    return await new Promise((resolve, reject) => {
      const eachMessage = async ({ message }: { message: KafkaMessage }) => {
        if (String(message.key) === key) resolve(message);
      };
      consumer.run({ eachMessage }).catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
}

async function remove(): Promise<void> {
  await connection().operatorService.removeSearchAttributes({ namespace, searchAttributes: NAMES });
  await until(() =>
    client.workflow.count('KeymendState = "escalated"').then(
      () => false,
      () => true,
    ),
  );
}

async function healed(key: string): Promise<void> {
  await sandbox.target.client.config('SET', 'min-replicas-to-write', '0');
  expect(await sandbox.keymend('retry', key)).toMatchObject({ code: 0 });
  await until(async () => (await sandbox.target.client.get(key)) === 'new');
  await until(async () => (await stateOf(key)) === 'done');
}

it(
  'of another type are told of and not written, and keys escalate and heal all the same',
  async () => {
    await register(INT);
    const running = await start();
    await fail('a');
    await until(async () => (await stateOf('a')) === 'escalated');
    const { code, stdout, stderr } = await sandbox.keymend('escalations');
    expect([code, stdout]).toEqual([1, '']);
    for (const word of ['KeymendState of type Int', 'temporal operator search-attribute create', '--type Keyword'])
      expect(stderr).toContain(word);
    await healed('a');
    expect(running.log().match(/KeymendState of type Int/g)!.length).toBeLessThanOrEqual(2);
  },
  NET_MS,
);

it(
  'that are removed while keymend runs are done without',
  async () => {
    await register(KEYWORD);
    const running = await start();
    const found = async () => (await client.workflow.count('KeymendState = "escalated"')).count;
    await fail('a');
    await eventually(async () => expect(await found()).toBe(1));
    const handle = client.workflow.getHandle(`${sandbox.prefix}a`);
    const shown = (await handle.describe()).typedSearchAttributes.getAll();
    expect(Object.fromEntries(shown.map(({ key, value }) => [key.name, value]))).toMatchObject({
      KeymendLink: 'east-to-west',
      KeymendState: 'escalated',
      KeymendError: expect.any(String),
    });
    await remove();
    await fail('b');
    await until(async () => (await stateOf('b')) === 'escalated');
    const { code, stderr } = await sandbox.keymend('escalations');
    expect(code).toBe(1);
    expect(stderr).toContain('KeymendState');
    await healed('a');
    await healed('b');
    expect(running.log()).toContain('does not take the search attribute KeymendLink');
  },
  NET_MS,
);

it.each(['are removed', 'are of another type'])(
  'that %s keep no redriven dead letter from being repaired, whether its run waits or is over',
  async (how) => {
    await register(how === 'are removed' ? KEYWORD : INT);
    await start();
    await fail('a');
    await until(async () => (await stateOf('a')) === 'escalated');
    if (how === 'are removed') await remove();
    const { client: target } = sandbox.target;
    await target.config('SET', 'min-replicas-to-write', '0');
    for (const count of [1, 2]) {
      await target.set('a', 'old');
      await redrive('a', count);
      await until(async () => (await target.get('a')) === 'new');
      await until(async () => (await stateOf('a')) === 'done');
    }
    // The list hears of an end a moment later.
    await eventually(async () => {
      const runs: string[] = [];
      for await (const { status } of client.workflow.list({ query: `WorkflowId = "${sandbox.prefix}a"` }))
        runs.push(status.name);
      expect(runs).toEqual(['COMPLETED', 'COMPLETED']);
    });
  },
  NET_MS,
);
