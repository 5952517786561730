/** What a redrive asks of a worker, with real Redis and a real topic of letters. */
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createRedriveActivities } from '../../activities/redrive.js';
import { StepSum } from '../../activities/redrive-sum.js';
import { parseConfig } from '../../src/config.js';
import { letterOf } from '../../src/dead-letters/letter.js';
import { offsetsOf, readStep } from '../../src/dead-letters/step.js';
import { connectRedis } from '../../src/redis/index.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { workerMetrics } from '../../src/telemetry/worker-metrics.js';
import { tellBatch, tellEnded } from '../../src/worker/ended-attempts.js';
import type { TryLettersRequest } from '../../workflows/redrive-messages.js';
import { all, keysOf, LINK, letter, topicBed } from '../dead-letters/bed.js';
import { DEFAULT_OPTIONS } from '../engine/link.js';
import { startRedis } from '../support/redis.js';
import { createTopics } from '../support/topics.js';

/** What Temporal takes of a payload is four times as much. */
const MOST_BYTES = 512 * 1024;
const FIRST: TryLettersRequest = {
  action: 'redrive',
  filter: {},
  passed: {},
  ends: null,
  storeId: null,
  again: false,
  mostKeys: 1_000,
  mostLetters: 5_000,
};

const SILENT = { began: () => {}, ended: () => {} };

/** Links of these names, each with a target of its own, over one topic of letters. */
async function bed(names: readonly string[] = [LINK]) {
  const topic = await topicBed(1);
  const store = await topic.open();
  const source = await startRedis();
  onTestFinished(() => source.stop());
  const links = await Promise.all(
    names.map(async (name) => {
      const target = await startRedis();
      const sides = {
        source: connectRedis({ url: source.url }, { name: 'source' }),
        target: connectRedis({ url: target.url }, { name: 'target', commandTimeoutMs: 1_000, outages: SILENT }),
      };
      onTestFinished(async () => {
        target.thaw();
        await Promise.all([sides.source.close(), sides.target.close()]);
        await target.stop();
      });
      return { name, target, runtime: { sides, options: DEFAULT_OPTIONS } };
    }),
  );
  const written = names.map((name) => ({
    name,
    source: { url: source.url },
    target: { url: `redis://${name}` },
    workflowIdPrefix: `${name}/`,
  }));
  const config = parseConfig(JSON.stringify({ intake: 'redis-stream', links: written }), 'bed', {});
  const metrics = new Metrics();
  const told = workerMetrics(metrics, names);
  const silent = pino({ level: 'silent' });
  const activities = createRedriveActivities({
    runtimes: new Map(links.map(({ name, runtime }) => [name, runtime])),
    links: new Map(config.links.map((link) => [link.name, link])),
    store,
    release: async () => {},
    onBatch: tellBatch(silent, told),
    onResult: tellEnded(silent, told),
    onStep: () => {},
  });
  const run = <Args extends unknown[], Reply>(work: (...args: Args) => Promise<Reply>, ...args: Args) => {
    const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
    return environment.run<Args, Reply, typeof work>(work, ...args);
  };
  return { ...topic, store, source, links, activities, run, metrics };
}

function of(link: string, key: string) {
  const made = letter(key, { 'dlq.link': link });
  return { ...made, value: Buffer.from(JSON.stringify({ ...JSON.parse(String(made.value)), link })) };
}

test('letters of a server that is out hold up no letter of another one, and stay as they are', async () => {
  const { writing, store, source, links, activities, run } = await bed(['out', 'well']);
  const keys = Array.from({ length: 30 }, (_, index) => `out:${index}`);
  await source.client.mset(...[...keys, 'well:1', 'well:2'].flatMap((key) => [key, 'v']));
  for (const key of keys) await writing.publish(of('out', key));
  for (const key of ['well:1', 'well:2']) await writing.publish(of('well', key));
  links[0]!.target.freeze();

  const reply = await run(activities.tryLetters, { ...FIRST, mostKeys: 1 });
  expect(reply.counts).toMatchObject({ redriven: 1, healed: 1, keys: 1, waiting: 30, failedAgain: 0 });
  expect(reply.waitsFor).toContain('127.0.0.1');
  expect(await links[1]!.target.client.mget('well:1', 'well:2')).toEqual(['v', null]);
  const { passed, ends, storeId, resolved, failed } = reply;
  const order = { action: 'redrive' as const, by: 'ann' };
  await run(activities.closeLetters, { redriveId: 'r', order, passed: {}, ends, storeId, resolved, failed });
  expect(keysOf(await all(store))).toEqual([...keys, 'well:2'].sort());

  links[0]!.target.thaw();
  const again = { ...FIRST, again: true, ends, storeId };
  await expect
    .poll(async () => (await run(activities.tryLetters, again)).counts)
    .toMatchObject({ waiting: 0, failedAgain: 0, redriven: 31 });
  expect(await links[0]!.target.client.mget(...keys)).toEqual(keys.map(() => 'v'));
  expect(passed).not.toEqual(ends);
});

test('each attempt at a key is counted, as one of a batch or of a workflow of its own', async () => {
  const { writing, source, links, activities, run, metrics } = await bed();
  await source.client.rpush('large', ...Array.from({ length: 6_000 }, (_, index) => `${index}`));
  await source.client.mset('old', 'v', 'equal', 'v');
  await links[0]!.target.client.set('equal', 'v');
  for (const key of ['large', 'old', 'equal']) await writing.publish(letter(key));
  const { counts } = await run(activities.tryLetters, FIRST);
  expect(counts).toMatchObject({ redriven: 3, alreadyEqual: 1, failedAgain: 0 });
  const text = await metrics.text();
  const of = (result: string) =>
    Number(text.match(`keymend_reconciles_total{link="${LINK}",result="${result}".*} (.*)`)?.[1]);
  // What was written is looked at again.
  expect(['large', 'repaired', 'equal'].map(of)).toEqual([1, 2, expect.toSatisfy((count) => count >= 1)]);
  expect(text).toMatch(new RegExp(`keymend_convergence_lag_seconds_count.*${LINK}.* 2\n`));
});

describe('letters of a key that fail again, where a worker closes them that has no such link', () => {
  /** Three letters of a key, and what closes them all as failed. */
  async function failing(written: (value: Buffer, index: number) => Buffer) {
    const { writing, store, run } = await bed();
    for (const index of [0, 1, 2]) {
      const { value, ...rest } = letter('set');
      await writing.publish({ ...rest, value: written(value!, index) });
    }
    const error = { type: 'NoPermission', message: 'as scripted', stage: 'write' } as const;
    const failed = [{ offsets: offsetsOf(await all(store)), error, attempts: 1 }];
    const order = { action: 'redrive' as const, by: 'ann' };
    const [ends, storeId] = [await store.ends(), await store.id()];
    const [runtimes, links] = [new Map(), new Map()];
    const { closeLetters } = createRedriveActivities({
      runtimes,
      links,
      store,
      release: async () => {},
      onBatch: () => {},
      onResult: () => {},
      onStep: () => {},
    });
    const close = () => run(closeLetters, { redriveId: 'r', order, passed: {}, ends, storeId, resolved: [], failed });
    return { store, close };
  }

  test('are one letter, which has the members of all', async () => {
    const { store, close } = await failing((value, index) =>
      Buffer.from(JSON.stringify({ ...JSON.parse(String(value)), command: 'SADD', members: [`m${index}`] })),
    );
    await close();
    const left = await all(store);
    expect(left).toHaveLength(1);
    const { command, members } = JSON.parse(String(left[0]!.record.value));
    expect([command, members.toSorted()]).toEqual(['SADD', ['m0', 'm1', 'm2']]);
  });

  test('stay as they are for another one, if one of them can not be read', async () => {
    const { store, close } = await failing((value, index) => (index === 1 ? Buffer.from('{') : value));
    await expect(close()).rejects.toMatchObject({ type: 'DeadLettersUnreachable', nonRetryable: false });
    expect(await all(store)).toHaveLength(3);
  });
});

test('a step is told of in far less than Temporal takes, however long its keys are', async () => {
  const { writing, source, links, activities, run } = await bed();
  const keys = Array.from({ length: 120 }, (_, index) => `${index}:${'k'.repeat(20_000)}`);
  for (const side of [source, links[0]!.target]) await side.client.mset(...keys.flatMap((key) => [key, 'v']));
  for (const key of keys) await writing.publish(letter(key));
  const reply = await run(activities.tryLetters, FIRST);
  expect(reply.counts).toMatchObject({ alreadyEqual: 120, redriven: 120 });
  expect(Buffer.byteLength(JSON.stringify(reply))).toBeLessThan(MOST_BYTES);
});

test('a step ends where its letters have names of too many bytes, or records', async () => {
  const part = `${'p'.repeat(300)}:keymend:outbox:dlq`;
  const position = { topic: 't', partition: 0, timestamp: '1' };
  const many = (count: number, bytes: number) =>
    Array.from({ length: count }, (_, index) => {
      const { key, value, headers } = letter(`key:${index}`);
      const record = { key, value: Buffer.concat([value!, Buffer.alloc(bytes, 0x20)]), headers: headers as never };
      return letterOf(part, { ...record, position: { ...position, offset: `${index}` } }, 1);
    });
  const steps = async (letters: ReturnType<typeof many>) => {
    const store = {
      id: async () => null,
      ends: async () => ({ [part]: `${letters.length}` }),
      letters: async function* () {
        yield* letters;
      },
    } as unknown as Parameters<typeof readStep>[0];
    const links = new Map(
      parseConfig(
        JSON.stringify({
          intake: 'redis-stream',
          links: [{ name: LINK, source: { url: 'redis://a' }, target: { url: 'redis://b' } }],
        }),
        'bed',
        {},
      ).links.map((link) => [link.name, link]),
    );
    return readStep(store, FIRST, links);
  };
  const long = await steps(many(1_000, 0));
  expect(long.isLast).toBe(false);
  // Also where each of them fails, with an error of its own.
  const sum = new StepSum();
  const error = { type: 'NoPermission', message: '"'.repeat(1_000), stage: 'read' } as const;
  const [one] = long.taken.keys.byLink();
  for (const { key, letters } of one!.keys) sum.take(key, letters, { kind: 'failed', error, attempts: 1 });
  const reply = sum.reply(long);
  expect(reply.failed.length).toBeGreaterThan(300);
  expect(Buffer.byteLength(JSON.stringify(reply))).toBeLessThan(MOST_BYTES);

  const large = await steps(many(400, 100 * 1024));
  expect(large.isLast).toBe(false);
  expect(large.taken.keys.size).toBeGreaterThan(300);
});

test('letters of a topic that was made anew meanwhile are left as they are', async () => {
  const { topic, admin, writing, open, store, source, activities, run } = await bed();
  const keys = ['key:1', 'key:2', 'key:3'];
  await source.client.mset(...keys.flatMap((key) => [key, 'v']));
  for (const key of keys) await writing.publish(letter(key));
  const { ends, storeId, resolved, failed } = await run(activities.tryLetters, FIRST);
  expect(resolved).toHaveLength(1);

  await admin.deleteTopics({ topics: [topic] });
  await expect.poll(() => admin.listTopics()).not.toContain(topic);
  await createTopics(admin, { topic, numPartitions: 1 });
  const others = ['other:1', 'other:2', 'other:3', 'other:4'];
  for (const key of others) await expect.poll(() => writing.publish(letter(key)).then(() => key, String)).toBe(key);

  const order = { action: 'redrive' as const, by: 'ann' };
  const closing = { redriveId: 'r', order, passed: {}, ends, storeId, resolved, failed };
  const refusal = /^the topic .* was deleted and made anew meanwhile: /;
  await expect(run(activities.closeLetters, closing)).rejects.toMatchObject({
    message: expect.stringMatching(refusal),
    type: 'AnotherTopic',
    nonRetryable: true,
  });
  await expect(run(activities.tryLetters, { ...FIRST, ends, storeId })).rejects.toThrow(refusal);
  expect(new Set(keysOf(await all(store)))).toEqual(new Set(others));
  expect(new Set(keysOf(await all(await open())))).toEqual(new Set(others));
});
