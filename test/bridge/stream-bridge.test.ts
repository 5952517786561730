import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ulid } from 'ulid';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { clusterStreams } from '../../src/outbox/cluster-streams.js';
import { type FailedWrite, failedWrites, WORKFLOW_TYPE } from '../../workflows/messages.js';
import { startCluster } from '../support/cluster.js';
import { createSandbox, recordOf, runKeymend, type Sandbox } from '../support/keymend.js';
import { freePort, startRedis } from '../support/redis.js';
import { stack } from '../support/services.js';
import { ownIds, toldOf, until } from './bridge-bed.js';

const STREAM = 'keymend:outbox';
const STREAMS = clusterStreams(STREAM);
const DEAD_LETTERS = 'keymend:outbox:dlq';
const GROUP = 'keymend-bridge';
const THAT_NEVER_COMMITS = fileURLToPath(new URL('bridge-that-never-commits.js', import.meta.url));

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await createSandbox();
  configure();
});
afterEach(() => sandbox?.close());

/** No Kafka at all. */
function configure(link: object = {}): string {
  return sandbox.configure({ link, config: { intake: 'redis-stream', kafka: undefined } });
}

/** As any program can do it. */
async function append(...records: { key: string; value: string }[]): Promise<void> {
  const pipeline = sandbox.source.client.pipeline();
  for (const { key, value } of records) pipeline.xadd(STREAM, '*', 'key', key, 'value', value);
  await pipeline.exec();
}

async function untilForgotten(): Promise<void> {
  await until(async () => {
    expect(await sandbox.source.client.xlen(STREAM)).toBe(0);
    expect((await sandbox.source.client.xpending(STREAM, GROUP))[0]).toBe(0);
  });
}

async function deadLetters(count: number): Promise<Record<string, string>[]> {
  const { client } = sandbox.source;
  await until(async () => expect(await client.xlen(DEAD_LETTERS)).toBe(count));
  return (await client.xrange(DEAD_LETTERS, '-', '+')).map(([, fields]) =>
    Object.fromEntries(fields.flatMap((name, at) => (at % 2 === 0 ? [[name, fields[at + 1]!]] : []))),
  );
}

/** Ids of the failed writes that the workflow of a key was told of, one by one. */
async function signalledIds(key: string): Promise<string[]> {
  const { events } = await sandbox.client.workflow.getHandle(sandbox.prefix + key).fetchHistory();
  return (events ?? []).flatMap(({ workflowExecutionSignaledEventAttributes: signal }) => {
    if (signal?.signalName !== failedWrites.name) return [];
    const [payload] = signal.input!.payloads!;
    const told = JSON.parse(Buffer.from(payload!.data!).toString()) as FailedWrite[];
    return told.flatMap(ownIds);
  });
}

describe('with Redis Streams and no Kafka', () => {
  it('a failed write appended to the outbox ends in an equal key, and the outbox forgets it', async () => {
    const { source, target } = sandbox;
    await source.client.set('user:42', 'new');
    await target.client.set('user:42', 'old');
    await source.client.hset('user:43', { name: 'Ada' });
    const running = await sandbox.start('start');
    await append(recordOf('user:42'), recordOf('user:42'), recordOf('user:43', { command: 'HSET', members: ['name'] }));
    await until(async () => {
      expect(await target.client.get('user:42')).toBe('new');
      expect(await target.client.hgetall('user:43')).toEqual({ name: 'Ada' });
    });
    await untilForgotten();
    expect(await signalledIds('user:42')).toHaveLength(2);
    expect(await running.stop()).toBe(0);
  });

  it('an entry that can not be read goes to the dead-letter stream, its bytes untouched, and the outbox moves on', async () => {
    const { source, target } = sandbox;
    await source.client.set('user:42', 'new');
    const poison = Buffer.from([0xff, 0xfe, 0]);
    const id = await source.client.xadd(STREAM, '*', 'key', 'user:1', 'value', poison, 'trace', 't1');
    await append(recordOf('user:42'), recordOf('user:2', { link: 'nobody-knows', id: 'w2' }));
    await sandbox.start('start');
    await until(async () => expect(await target.client.get('user:42')).toBe('new'));
    const letters = await deadLetters(2);
    expect(letters.find(({ key }) => key === 'user:1')).toMatchObject({
      trace: 't1',
      'dlq.reason': 'invalid-json',
      'dlq.stage': 'decode',
      'dlq.original.topic': STREAM,
      'dlq.original.partition': '0',
      'dlq.original.offset': id,
      'dlq.original.timestamp': id!.split('-')[0],
      'dlq.error.type': 'DecodeError',
      'dlq.attempts': '1',
    });
    const [first] = await source.client.xrangeBuffer(DEAD_LETTERS, '-', '+', 'COUNT', 1);
    expect(first![1][first![1].findIndex((field) => String(field) === 'value') + 1]).toEqual(poison);
    expect(letters.find(({ key }) => key === 'user:2')).toMatchObject({
      'dlq.reason': 'unknown-link',
      'dlq.link': 'nobody-knows',
      'dlq.event.id': 'w2',
    });
    await untilForgotten();
  });

  it('a key that is escalated is told of in the dead-letter stream', async () => {
    configure({ retry: { maximumAttempts: 2, initialInterval: '10ms' } });
    const { source, target } = sandbox;
    await source.client.set('user:42', 'new');
    await target.client.replicaof('127.0.0.1', 1);
    await sandbox.start('start');
    const record = recordOf('user:42', { id: 'w1' });
    await append(record);
    const [letter] = await deadLetters(1);
    expect(letter).toMatchObject({
      key: 'user:42',
      'dlq.reason': 'attempts-exhausted',
      'dlq.error.type': 'TargetReadOnly',
      'dlq.original.topic': STREAM,
      'dlq.event.id': 'w1',
      'dlq.workflow.id': `${sandbox.prefix}user:42`,
      'dlq.link': 'east-to-west',
    });
    expect(letter!['dlq.original.offset']).toMatch(/^\d+-\d+$/);
    expect(JSON.parse(letter!.value!)).toMatchObject({ id: 'w1', key: 'user:42' });
  });

  it('a dead-letter stream that is full holds its records back, loudly, until there is room', async () => {
    sandbox.configure({ config: { intake: 'redis-stream', kafka: undefined, stream: { maxEntries: 1 } } });
    const { source } = sandbox;
    await source.client.xadd(DEAD_LETTERS, '*', 'value', 'an earlier one');
    await append({ key: 'k', value: 'no JSON' });
    const running = await sandbox.start('bridge');
    await running.logged('keymend:outbox:dlq at source of link east-to-west');
    expect(running.log()).toMatch(/is full \(1 entry, stream\.maxEntries is 1\).*No record is lost/);
    expect(await source.client.xlen(STREAM)).toBe(1);
    await source.client.xtrim(DEAD_LETTERS, 'MAXLEN', 0);
    expect(await deadLetters(1)).toMatchObject([{ value: 'no JSON' }]);
    await untilForgotten();
  });

  it('a bridge killed between signal and acknowledgement: its entries come again, with the ids by which they are known', async () => {
    const { source, target } = sandbox;
    const keys = ['a', 'b', 'c'];
    for (const key of keys) await source.client.set(key, 'new');
    await append(...keys.map((key) => recordOf(key, { id: `${key}#1` })));
    const config = parseConfig(readFileSync(configure(), 'utf8'), 'the test', {});
    const child = fork(THAT_NEVER_COMMITS, [JSON.stringify({ config, address: stack().temporal.address })]);
    onTestFinished(() => void child.kill('SIGKILL'));
    const exited = new Promise((resolve) => child.once('exit', resolve));
    let signalled = 0;
    child.on('message', () => signalled++);
    await until(() => expect(signalled).toBe(3));
    child.kill('SIGKILL');
    await exited;
    expect(await source.client.xlen(STREAM)).toBe(3);

    await sandbox.start('bridge');
    await untilForgotten();
    for (const key of keys) expect(await signalledIds(key)).toEqual([`${key}#1`, `${key}#1`]);
    await sandbox.start('worker');
    await until(async () => expect(await target.client.mget(keys)).toEqual(['new', 'new', 'new']));
  });

  it('a source that comes back without data gets its outbox and group again', async () => {
    // Other tests look for gaps of the usual link.
    const link = ulid();
    configure({ name: link });
    const { source, target } = sandbox;
    const running = await sandbox.start('start');
    await append(recordOf('user:1', { link }));
    await untilForgotten();
    await source.stop();
    await running.logged('cannot be read');
    const again = await startRedis([], { port: source.port });
    try {
      await again.client.set('user:42', 'new');
      const { key, value } = recordOf('user:42', { link });
      await again.client.xadd(STREAM, '*', 'key', key, 'value', value);
      await until(async () => expect(await target.client.get('user:42')).toBe('new'));
    } finally {
      await again.stop();
    }
  });

  it('a source that is a Cluster: each of its outbox streams reaches Temporal, dead letters lie beside', async () => {
    const cluster = await startCluster();
    onTestFinished(() => cluster.stop());
    configure({ source: { cluster: cluster.nodes.map(({ url }) => url) } });
    const running = await sandbox.start('bridge');
    const records = STREAMS.map((stream, index) => ({ stream, ...recordOf(`user:${index}`, { id: `w${index}` }) }));
    for (const { stream, key, value } of records) await cluster.client.xadd(stream, '*', 'key', key, 'value', value);
    await cluster.client.xadd(STREAMS[5]!, '*', 'value', 'no JSON');
    await until(async () => {
      for (const { stream } of records) expect(await cluster.client.xlen(stream)).toBe(0);
    });
    for (const [index, { key }] of records.entries()) expect(await signalledIds(key)).toEqual([`w${index}`]);
    const letters = await cluster.client.xrange(clusterStreams(DEAD_LETTERS)[5]!, '-', '+');
    expect(letters).toEqual([[expect.any(String), expect.arrayContaining(['no JSON', 'invalid-json', STREAMS[5]])]]);
    expect(await running.stop()).toBe(0);
  });

  it('bridge and worker start while the source is away, and read its outbox when it answers', async () => {
    const port = await freePort();
    configure({ source: { url: `redis://127.0.0.1:${port}` } });
    const running = await sandbox.start('start');
    expect(running.log()).toContain('cannot be reached: nothing listens there');
    const source = await startRedis([], { port });
    onTestFinished(() => source.stop());
    await source.client.set('user:42', 'new');
    const { key, value } = recordOf('user:42');
    await source.client.xadd(STREAM, '*', 'key', key, 'value', value);
    await until(async () => expect(await sandbox.target.client.get('user:42')).toBe('new'));
    expect(await running.stop()).toBe(0);
  });

  it('the bridge refuses to start with one line when no source can be used as configured', async () => {
    configure({ source: { url: 'redis://no-such-host.invalid' } });
    const { code, stderr } = await sandbox.keymend('bridge');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^keymend: source of link east-to-west \(no-such-host.invalid:6379\) cannot be reached: .*\n$/,
    );
  });

  it('config check asks nothing of Kafka', async () => {
    const { code, stdout } = await sandbox.keymend('config', 'check');
    expect(code).toBe(0);
    expect(stdout).not.toContain('Kafka');
  });
});

describe('the configuration', () => {
  it.each([
    ['without kafka', { kafka: undefined }, /kafka: is missing; give .*intake: redis-stream/],
    ['with an unknown intake', { intake: 'rabbit' }, /intake: /],
    ['with one stream for both', { stream: { key: 'a', deadLetterKey: 'a' } }, /stream\.deadLetterKey: is the same/],
    ['with a bound of nothing', { stream: { maxEntries: 0 } }, /stream\.maxEntries/],
  ])('%s is refused with its place', async (_title, config, message) => {
    const path = sandbox.configure({ config });
    const { code, stderr } = await runKeymend(['config', 'check', '--config', path]);
    expect(stderr).toMatch(message);
    expect(code).toBe(1);
  });
});

it.each([
  ['read by the bridge', { intake: 'redis-stream', kafka: undefined }],
  ['relayed to Kafka', {}],
])('an outbox that is %s and was deleted is a gap of its link', async (_how, config) => {
  const name = ulid();
  sandbox.configure({ link: { name }, config });
  const running = await sandbox.start('bridge');
  await append(recordOf('user:1', { link: name }));
  await until(async () => expect(await sandbox.source.client.xlen(STREAM)).toBe(0));
  await sandbox.source.client.del(STREAM);
  const gap = { cause: 'recreated', records: null, message: expect.stringContaining(STREAM) };
  await until(async () => expect(await toldOf(sandbox, name)).toMatchObject([gap]));
  expect(await running.stop()).toBe(0);
});

it('with Kafka, the bridge relays what waits in the outbox', async () => {
  sandbox.configure({});
  const { source, target } = sandbox;
  await source.client.set('user:42', 'new');
  await append(recordOf('user:42', { id: 'w1' }));
  await sandbox.start('start');
  await until(async () => expect(await target.client.get('user:42')).toBe('new'));
  expect(await source.client.xlen(STREAM)).toBe(0);
  expect(await signalledIds('user:42')).toEqual(['w1']);
  const handle = sandbox.client.workflow.getHandle(`${sandbox.prefix}user:42`);
  expect((await handle.describe()).type).toBe(WORKFLOW_TYPE);
});
