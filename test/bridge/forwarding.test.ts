import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { bridgeBed, failedWrite, LINK, until } from './bridge-bed.js';

describe('a record of a failed write', () => {
  test('starts the workflow of its key, with the key as its ID and the failed write as a signal', async () => {
    const bed = await bridgeBed({ settle: '2s' });
    const event = failedWrite({
      key: 'user:42',
      members: ['a', 'b'],
      error: { code: 'READONLY' },
      origin: 'orders-api',
    });
    await bed.produce({ key: 'user:42', value: JSON.stringify(event), timestamp: '1700000000000' });
    await bed.start();
    await bed.untilCommitted(1);

    const workflow = await bed.workflow('user:42');
    expect(workflow.input).toEqual({
      link: LINK,
      key: 'user:42',
      encoding: 'utf8',
      policy: {
        settleMs: 2000,
        verify: 'auto',
        retry: { maximumAttempts: 8, initialIntervalMs: 500, backoffCoefficient: 2, maximumIntervalMs: 30_000 },
        escalation: { retryEveryMs: 900_000 },
      },
      version: 3,
    });
    const record = { topic: bed.config.kafka.topic, partition: 0, offset: '0', timestamp: '1700000000000' };
    expect(workflow.signals).toEqual([[{ ...event, idempotent: true, record }]]);
    expect(workflow.searchAttributes).toEqual({ KeymendLink: LINK });
    expect(workflow.taskQueue).toBe(bed.config.temporal.taskQueue);
  });

  test('without a record key reaches the workflow of the key in its value', async () => {
    const bed = await bridgeBed();
    await bed.produce({ key: null, value: JSON.stringify(failedWrite({ id: 'w1', key: 'keyless' })) });
    await bed.start();
    await bed.untilCommitted(1);
    expect(await bed.signalledIds('keyless')).toEqual([['w1']]);
  });

  test('of a binary key has the digest of the raw key as its workflow ID and the raw key in the input', async () => {
    const bed = await bridgeBed();
    const key = Buffer.from([0, 255, 128, 10]);
    await bed.produce({ key: key.toString('base64'), encoding: 'base64' });
    await bed.start();
    await bed.untilCommitted(1);
    const digest = createHash('sha256').update(key).digest('hex');
    const { input } = await bed.workflow(key);
    expect(Buffer.from(input.key, input.encoding)).toEqual(key);
    const handle = bed.client.workflow.getHandle(`${bed.config.links[0]!.workflowIdPrefix}sha256:${digest}`);
    expect((await handle.describe()).status.name).toBe('RUNNING');
  });

  test('of a command that is not idempotent says so, and one without command says nothing', async () => {
    const bed = await bridgeBed();
    const { command: _command, ...unknown } = failedWrite({ key: 'k' });
    await bed.produce(
      { key: 'k', command: 'incr' },
      { key: 'unknown', value: JSON.stringify({ ...unknown, key: 'unknown' }) },
    );
    await bed.start();
    await bed.untilCommitted(2);
    const said = async (key: string) => {
      const { signals } = await bed.workflow(key);
      return signals.flat().map(({ command, idempotent }) => [command, idempotent]);
    };
    expect(await said('k')).toEqual([['INCR', false]]);
    expect(await said('unknown')).toEqual([[undefined, undefined]]);
  });
});

test('a record that is published once more out of the dead letters is told of as that', async () => {
  const bed = await bridgeBed();
  const value = JSON.stringify(failedWrite({ id: 'a', key: 'k' }));
  await bed.produce({ key: 'k', value }, { key: 'k', value, headers: { 'dlq.redrive.count': '2' } });
  await bed.start();
  await bed.untilCommitted(2);
  const events = (await bed.workflow('k')).signals.flat();
  const { topic } = bed.config.kafka;
  expect(events).toMatchObject([{ id: 'a', redrive: 2, merged: { count: 2, ids: ['a', `a of ${topic}[0] 1`] } }]);
});

describe('the records of a batch', () => {
  test('become one signal per key that carries all its failed writes in their order', async () => {
    const bed = await bridgeBed();
    const ids = ['a1', 'b1', 'a2', 'c1', 'a3', 'b2'];
    await bed.produce(...ids.map((id) => ({ id, key: `key:${id[0]}` })));
    const bridge = await bed.start();
    await bed.untilCommitted(6);
    expect(await bed.signalledIds('key:a')).toEqual([['a1', 'a2', 'a3']]);
    expect(await bed.signalledIds('key:b')).toEqual([['b1', 'b2']]);
    expect(await bed.signalledIds('key:c')).toEqual([['c1']]);
    expect(bridge.counters).toEqual({ received: 6, signalled: 6, deadLettered: 0 });
  });

  test('belong together when one writes the key as text and the other as base64', async () => {
    const bed = await bridgeBed();
    await bed.produce(
      { id: 'text', key: 'same' },
      { id: 'bytes', key: Buffer.from('same').toString('base64'), encoding: 'base64' },
    );
    await bed.start();
    await bed.untilCommitted(2);
    expect(await bed.signalledIds('same')).toEqual([['text', 'bytes']]);
  });

  test('become one failed write of their key, in one small signal, however many they are', async () => {
    const bed = await bridgeBed();
    const COUNT = 5_000;
    const records = Array.from({ length: COUNT }, (_, index) => ({
      ...failedWrite({ id: `w${index}`, key: 'hot', command: index % 2 === 0 ? 'HSET' : 'HDEL' }),
      members: [`field:${index % 100}`],
    }));
    for (let from = 0; from < COUNT; from += 1_000) await bed.produce(...records.slice(from, from + 1_000));
    const bridge = await bed.start();
    await bed.untilCommitted(COUNT);
    const { signals } = await bed.workflow('hot');
    expect(signals.length).toBeLessThan(COUNT / 100);
    for (const signal of signals) {
      expect(signal).toHaveLength(1);
      expect(Buffer.byteLength(JSON.stringify(signal))).toBeLessThan(64 * 1024);
    }
    const merged = signals.flat().map((event) => event.merged!);
    expect(merged.reduce((sum, { count }) => sum + count, 0)).toBe(COUNT);
    expect(merged[0]!.hint).toMatchObject({ whole: false, memberCommands: ['HSET', 'HDEL'] });
    expect(bridge.counters).toEqual({ received: COUNT, signalled: COUNT, deadLettered: 0 });
  });

  test('become the whole key when they name more than fits into a signal', async () => {
    const bed = await bridgeBed();
    const members = (letter: string) => Array.from({ length: 400 }, (_, index) => `${index}`.padStart(100, letter));
    await bed.produce(
      { id: 'a', key: 'large', members: members('a') },
      { id: 'b', key: 'large', members: members('b') },
    );
    await bed.start();
    await bed.untilCommitted(2);
    const [[event] = []] = (await bed.workflow('large')).signals;
    expect(event).toMatchObject({ id: 'b', merged: { count: 2 } });
    for (const name of ['command', 'members']) expect(event).not.toHaveProperty(name);
  });

  test('of a key whose workflow runs are added to it, and after its end start a new one', async () => {
    const bed = await bridgeBed();
    await bed.start();
    await bed.produce({ id: 'first', key: 'again' });
    await bed.untilCommitted(1);
    await bed.produce({ id: 'second', key: 'again' });
    await bed.untilCommitted(2);
    expect(await bed.signalledIds('again')).toEqual([['first'], ['second']]);

    await bed.client.workflow.getHandle(`${bed.config.links[0]!.workflowIdPrefix}again`).terminate();
    await bed.produce({ id: 'third', key: 'again' });
    await bed.untilCommitted(3);
    expect(await bed.signalledIds('again')).toEqual([['third']]);
  });
});

describe('the start of the workflow', () => {
  test.each([
    ['an outcome that is unknown', { outcome: 'unknown' as const }],
    ['a command that is not idempotent', { command: 'INCR' }],
    ['no word about the outcome', { outcome: undefined }],
  ])('waits for what may be in flight: %s', async (_title, fields) => {
    const bed = await bridgeBed({ settle: '1h' });
    // The clock of the producer may be behind: what counts is when the bridge has read of it.
    await bed.produce({ key: 'in-flight', failedAt: new Date(Date.now() - 7_200_000).toISOString(), ...fields });
    await bed.start();
    await bed.untilCommitted(1);
    const { startDelay } = await bed.workflow('in-flight');
    expect(startDelay).toBeGreaterThan(0);
    expect(startDelay).toBeLessThanOrEqual(60 * 60_000);
  });

  test('waits for nothing when an idempotent write was refused', async () => {
    const bed = await bridgeBed({ settle: '1h' });
    await bed.produce({ key: 'refused', outcome: 'refused', command: 'SADD' });
    await bed.start();
    await bed.untilCommitted(1);
    expect((await bed.workflow('refused')).startDelay).toBe(0);
  });
});

test('a large backlog is forwarded completely, each record once', async () => {
  const bed = await bridgeBed({ partitions: 3 });
  const ids = Array.from({ length: 300 }, (_, index) => `w${index}`);
  for (const partition of [0, 1, 2]) {
    const mine = ids.filter((_, index) => index % 3 === partition);
    await bed.produce(
      ...mine.map((id) => {
        const key = `key:${Number(id.slice(1)) % 60}`;
        return { partition, key, value: JSON.stringify(failedWrite({ id, key })) };
      }),
    );
  }
  const bridge = await bed.start();
  await bed.untilCommitted(100, 100, 100);
  const seen = await Promise.all(Array.from({ length: 60 }, (_, key) => bed.signalledIds(`key:${key}`)));
  expect(seen.flat(2).sort()).toEqual([...ids].sort());
  expect(bridge.counters.signalled).toBe(300);
  await until(() => expect(bed.warnings()).toEqual([]));
});
