import { Client, type Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';
import { Kafka, logLevel, PartitionAssigners } from 'kafkajs';
import { pino } from 'pino';
import { ulid } from 'ulid';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startBridge } from '../../src/bridge/bridge.js';
import { freePort } from '../support/redis.js';
import { bridgeBed, type LogLine, until } from './bridge-bed.js';

const OVER = 'over';

function texts(logs: readonly LogLine[], start: string): string[] {
  return logs.map(({ msg }) => msg).filter((msg) => msg.startsWith(start));
}

describe('while Temporal is away', () => {
  test('records wait in Kafka and one line says so; afterwards nothing is lost', async () => {
    const bed = await bridgeBed();
    const { client, proxy } = await bed.clientThroughProxy();
    proxy.cut();
    const ids = Array.from({ length: 200 }, (_, index) => `w${index}`);
    await bed.produce(...ids.map((id) => ({ id, key: id })));
    const bridge = await bed.start({ client });
    await until(() => expect(bed.warnings().join()).toContain('Temporal does not take signals'));
    expect(await bed.committed()).toEqual([0]);
    expect(bridge.counters.signalled).toBe(0);

    proxy.restore();
    await bed.untilCommitted(200);
    const seen = await Promise.all(ids.map((id) => bed.signalledIds(id)));
    expect(seen.map((signals) => [...new Set(signals.flat())])).toEqual(ids.map((id) => [id]));
    expect(bed.warnings().filter((line) => line.includes('Temporal'))).toHaveLength(1);
    expect(texts(bed.logs, OVER)).toEqual([expect.stringMatching(/^over.*Temporal/)]);
    expect(await bed.deadLetterCount()).toBe(0);
  });

  test('a signal without an answer is given up and sent again', async () => {
    const bed = await bridgeBed();
    const { client, proxy } = await bed.clientThroughProxy();
    await bed.start({ client });
    proxy.swallow();
    await bed.produce({ id: 'w', key: 'k' });
    await until(() => expect(bed.warnings().join()).toContain('DEADLINE_EXCEEDED'));
    expect(await bed.committed()).toEqual([0]);
    proxy.restore();
    await bed.untilCommitted(1);
    expect(new Set((await bed.signalledIds('k')).flat())).toEqual(new Set(['w']));
  });

  test('because its namespace does not exist, nothing is skipped and the line names the namespace', async () => {
    const bed = await bridgeBed();
    const { connection } = bed.client;
    await bed.produce({ key: 'k' });
    await bed.start({ client: new Client({ connection, namespace: 'nowhere' }).workflow });
    await until(() => expect(bed.warnings()).toEqual([expect.stringContaining('namespace "nowhere" does not exist')]));
    expect(await bed.committed()).toEqual([0]);
    expect(await bed.deadLetterCount()).toBe(0);
  });

  test('because it does not take the task queue, nothing is skipped: no key could be signalled', async () => {
    const bed = await bridgeBed();
    await bed.produce({ key: 'k' });
    await bed.start({ config: { ...bed.config, temporal: { ...bed.config.temporal, taskQueue: 'q'.repeat(2_000) } } });
    await until(() => expect(bed.warnings()).toEqual([expect.stringMatching(/does not take signals: .*task ?queue/i)]));
    expect(await bed.committed()).toEqual([0]);
    expect(await bed.deadLetterCount()).toBe(0);
  });

  test('but for a search attribute, nothing waits, and the line says what to do', async () => {
    const bed = await bridgeBed();
    const namespace = `bare-${ulid().toLowerCase()}`;
    const connection = bed.client.connection as Connection;
    await connection.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: msToTs('1 day'),
    });
    await bed.produce({ key: 'k' });
    const bridge = await bed.start({ client: new Client({ connection, namespace }).workflow });
    await bed.untilCommitted(1);
    expect(bed.warnings().join()).toContain('search-attribute create --name KeymendLink --type Keyword');
    expect(bridge.counters).toMatchObject({ signalled: 1, deadLettered: 0 });
  });
});

describe('the start', () => {
  const logger = pino({ level: 'silent' });

  test('fails with one line when no broker answers', async () => {
    const bed = await bridgeBed();
    const brokers = [`127.0.0.1:${await freePort()}`];
    const config = { ...bed.config, kafka: { ...bed.config.kafka, brokers } };
    await expect(startBridge({ config, client: bed.client.workflow, logger })).rejects.toThrow(
      new RegExp(
        `^Kafka does not answer at ${brokers[0]} \\(.*ECONNREFUSED.*\\); check that it runs and kafka.brokers.*$`,
      ),
    );
  });

  test('fails with one line that names the missing topic and how to create it', async () => {
    const bed = await bridgeBed();
    const config = { ...bed.config, kafka: { ...bed.config.kafka, topic: 'nobody.made.this' } };
    await expect(startBridge({ config, client: bed.client.workflow, logger })).rejects.toThrow(
      /^Kafka at \S+ has no topic nobody.made.this .*kafka-topics.sh --bootstrap-server \S+ --create --topic nobody.made.this$/,
    );
  });

  test('fails with one line when the broker does not take the user', async () => {
    const bed = await bridgeBed();
    const sasl = { mechanism: 'plain' as const, username: 'someone', password: 'wrong' };
    const config = { ...bed.config, kafka: { ...bed.config.kafka, sasl } };
    const error = await startBridge({ config, client: bed.client.workflow, logger }).catch((reason: Error) => reason);
    expect((error as Error).message).toMatch(
      /^Kafka at \S+ refuses user "someone" \(.*\); check kafka.sasl in the configuration$/,
    );
  });
});

test('a consumer that can never go on ends the bridge with one line', async () => {
  const bed = await bridgeBed();
  const { topic, groupId, brokers } = bed.config.kafka;
  // Its group shares its partitions out in a way that kafkajs does not know.
  const { roundRobin } = PartitionAssigners;
  const consumer = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).consumer({
    groupId,
    partitionAssigners: [
      (config) => ({
        ...roundRobin(config),
        name: 'of-its-own',
        protocol: (subscription) => ({ ...roundRobin(config).protocol(subscription), name: 'of-its-own' }),
      }),
    ],
  });
  onTestFinished(() => consumer.disconnect());
  await consumer.connect();
  await consumer.subscribe({ topics: [topic] });
  const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
  await consumer.run({ eachMessage: async () => {} });
  await joined;

  const bridge = await bed.start();
  await expect(bridge.finished).rejects.toThrow(
    /^the Kafka consumer \S+ of \S+ at \S+ ended: .*; no record is lost, fix the cause and start again$/,
  );
  await bridge.stop();
  expect(await bed.committed()).toEqual([0]);
});
