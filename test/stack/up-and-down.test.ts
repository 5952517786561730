import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { Redis } from 'ioredis';
import { type Admin, Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../src/config.js';
import { type StackInfo, stackDown, stackStatus, stackUp } from '../../src/stack/index.js';
import {
  occupy,
  onlyStarting,
  processesIn,
  silent,
  stackDirectory,
  startingAll,
  stopAndRemove,
  temporaryFolder,
} from './scratch.js';

describe('the whole stack', () => {
  let directory: string;
  let environment: NodeJS.ProcessEnv;
  let info: StackInfo;

  beforeAll(async () => {
    directory = temporaryFolder();
    environment = startingAll();
    info = await stackUp({ directory, environment, report: silent, preferredPorts: 'free' });
  });
  afterAll(() => stopAndRemove(directory));

  test('answers: a Temporal with its Web UI, search attributes that can be used, Kafka with its topics, two Redis', async () => {
    const temporal = await temporalAt(info);
    await temporal.workflow.start('nobody-runs-it', {
      workflowId: 'kept',
      taskQueue: 'nowhere',
      searchAttributes: { KeymendLink: ['east-to-west'], KeymendState: ['escalated'] },
    });
    expect((await fetch(info.temporal.ui)).status).toBe(200);
    const admin = await kafkaAt(info);
    const { topics } = await admin.fetchTopicMetadata();
    expect(new Map(topics.map(({ name, partitions }) => [name, partitions.length]))).toEqual(
      new Map([
        ['keymend.failed-writes', 6],
        ['keymend.failed-writes.dlq', 1],
      ]),
    );
    expect(await redisAt(info.redis.source).set('kept', 'source')).toBe('OK');
    expect(await redisAt(info.redis.target).set('kept', 'target')).toBe('OK');
  });

  test('comes with a configuration that the product accepts', () => {
    const config = loadConfig(info.config, {});
    expect(config).toMatchObject({ intake: 'kafka', kafka: { brokers: info.kafka.brokers } });
    expect(config.temporal.address).toBe(info.temporal.address);
    const [link] = config.links;
    expect(link).toMatchObject({
      name: 'east-to-west',
      source: { url: info.redis.source },
      target: { url: info.redis.target },
    });
  });

  test('is left as it is by a second `up`, which answers the same and says so', async () => {
    const before = await pids();
    const lines: string[] = [];
    const again = await stackUp({ directory, environment, report: (line) => lines.push(line) });
    expect(again).toEqual(info);
    expect(await pids()).toEqual(before);
    expect(lines).toEqual(['all services run already']);
  });

  test('gets a killed service back on its port with its data, while the others go on', async () => {
    const before = await pids();
    process.kill(before['redis-source'] as number, 'SIGKILL');
    await expect.poll(async () => (await pids())['redis-source']).toBeUndefined();
    expect(await stackUp({ directory, environment, report: silent })).toEqual(info);
    expect(await redisAt(info.redis.source).get('kept')).toBe('source');
    const after = await pids();
    expect(after['redis-source']).toBeDefined();
    expect({ ...after, 'redis-source': 0 }).toEqual({ ...before, 'redis-source': 0 });
  });

  test('comes back with all data when everything was killed', async () => {
    const admin = await kafkaAt(info);
    await admin.createTopics({ topics: [{ topic: 'kept', numPartitions: 1 }] });
    const killed = Object.values(await pids());
    for (const pid of killed) process.kill(pid as number, 'SIGKILL');
    expect(await stackUp({ directory, environment, report: silent })).toEqual(info);
    await expectDataKept();
    expect(killed).toHaveLength(4);
  });

  test('leaves no process when it is down, and keeps the data', async () => {
    if (process.platform === 'linux') expect(processesIn(directory)).toHaveLength(4);
    const { stopped } = await stackDown({ directory, report: silent });
    expect(stopped).toEqual(['temporal', 'kafka', 'redis-source', 'redis-target']);
    expect(processesIn(directory)).toEqual([]);
    const states = await stackStatus({ directory, environment });
    expect(states.map(({ state, answers }) => [state, answers])).toEqual(Array(4).fill(['stopped', false]));
    expect(await stackDown({ directory, report: silent })).toEqual({ stopped: [] });
    expect(await stackUp({ directory, environment, report: silent })).toEqual(info);
    await expectDataKept();
  });

  async function pids(): Promise<Partial<Record<string, number>>> {
    const running = (await stackStatus({ directory, environment })).filter(({ state }) => state === 'running');
    return Object.fromEntries(running.map(({ service, pid }) => [service, pid]));
  }

  async function expectDataKept(): Promise<void> {
    expect(await redisAt(info.redis.source).get('kept')).toBe('source');
    expect(await redisAt(info.redis.target).get('kept')).toBe('target');
    expect(await (await kafkaAt(info)).listTopics()).toContain('kept');
    const description = await (await temporalAt(info)).workflow.getHandle('kept').describe();
    expect(description.status.name).toBe('RUNNING');
    expect(description.searchAttributes.KeymendState).toEqual(['escalated']);
  }
});

describe('a port that is taken', () => {
  test('makes the service take another, also when it had that one before, and its data goes with it', async () => {
    const directory = stackDirectory();
    const environment = onlyStarting('redis-target');
    const up = () => stackUp({ directory, environment, report: silent, preferredPorts: 'free' });
    const before = await up();
    await redisAt(before.redis.target).set('kept', 'yes');
    await stackDown({ directory, report: silent });
    await occupy(Number(new URL(before.redis.target).port));

    const after = await up();
    expect(after.redis.target).not.toBe(before.redis.target);
    expect(await redisAt(after.redis.target).get('kept')).toBe('yes');
    expect(readFileSync(after.config, 'utf8')).toContain(after.redis.target);
  });

  test('holds for the usual ports too, and whoever listens there is left alone', async () => {
    await occupy(6379);
    const directory = stackDirectory();
    const environment = onlyStarting('redis-source');
    const { redis } = await stackUp({ directory, environment, report: silent });
    expect(new URL(redis.source).port).not.toBe('6379');
    expect(await redisAt(redis.source).ping()).toBe('PONG');
  });
});

test('two `up` at once in one directory start every service once', async () => {
  const directory = stackDirectory();
  const environment = onlyStarting('redis-source', 'redis-target');
  const lines: string[] = [];
  const up = () => stackUp({ directory, environment, report: (line) => lines.push(line), preferredPorts: 'free' });
  const [one, other] = await Promise.all([up(), up()]);
  expect(one).toEqual(other);
  expect(lines.filter((line) => line.includes('up on port'))).toHaveLength(2);
  expect(lines).toContainEqual(expect.stringContaining(`process ${process.pid} is starting or stopping`));
  if (process.platform === 'linux') expect(processesIn(directory)).toHaveLength(2);
});

test('a service whose ports were forgotten is started anew, not left behind', async () => {
  const directory = stackDirectory();
  const environment = onlyStarting('redis-source');
  const up = () => stackUp({ directory, environment, report: silent, preferredPorts: 'free' });
  await redisAt((await up()).redis.source).set('kept', 'yes');
  writeFileSync(join(directory, 'stack.json'), '{"half":');
  expect(await redisAt((await up()).redis.source).get('kept')).toBe('yes');
  if (process.platform === 'linux') expect(processesIn(directory)).toHaveLength(1);
});

function redisAt(url: string): Redis {
  const client = new Redis(url, { protocol: 2 });
  client.on('error', () => {}); // The server may go before the client does.
  onTestFinished(() => client.disconnect());
  return client;
}

async function kafkaAt(info: StackInfo): Promise<Admin> {
  const admin = new Kafka({ brokers: info.kafka.brokers, logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  onTestFinished(() => admin.disconnect());
  return admin;
}

async function temporalAt(info: StackInfo): Promise<Client> {
  const connection = await Connection.connect({ address: info.temporal.address });
  onTestFinished(() => connection.close());
  return new Client({ connection });
}
