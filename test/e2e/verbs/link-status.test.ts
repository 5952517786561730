/**
 * What an operator sees of a link whose source is not to be believed: the delete guard refuses, and
 * the target loses nothing.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type LinkReport, linkReports } from '../../../src/cli/status/link-status.js';
import { loadConfig } from '../../../src/config.js';
import { connectRedis } from '../../../src/redis/index.js';
import { until } from '../../support/eventually.js';
import { createSandbox, type Finished, type Running, type Sandbox } from '../../support/keymend.js';
import { freePort, type RedisServer, startRedis } from '../../support/redis.js';

const KEYS = 20;
const SLOW_LOADING = ['--enable-debug-command', 'yes', '--enable-protected-configs', 'yes'];

let sandbox: Sandbox;
let source: RedisServer;
beforeAll(async () => {
  sandbox = await createSandbox();
  source = await startRedis(SLOW_LOADING);
  configure();
});
afterAll(async () => {
  await sandbox?.close();
  await source?.stop();
});
beforeEach(async () => {
  configure();
  for (const { client } of [source, sandbox.target]) {
    await client.replicaof('NO', 'ONE');
    await client.flushall();
    await client.mset(Array.from({ length: KEYS }, (_, index) => [`k${index}`, 'v']).flat());
  }
});

function configure(): void {
  sandbox.configure({
    link: { source: { url: source.url }, retry: { maximumAttempts: 2, initialInterval: '10ms' } },
  });
}

async function report(): Promise<LinkReport> {
  const { stdout, code } = await sandbox.keymend('status', '--output', 'json');
  expect(code).toBe(0);
  return (JSON.parse(stdout) as { links: LinkReport[] }).links[0]!;
}

describe('keymend status without a key', () => {
  it('shows each link with both sides and that deletes are allowed', async () => {
    expect(await report()).toEqual({
      link: 'east-to-west',
      source: { place: `source (127.0.0.1:${source.port})`, role: 'master', keys: KEYS, problem: null },
      target: { place: `target (127.0.0.1:${sandbox.target.port})`, role: 'master', keys: KEYS, problem: null },
      deletes: 'allowed',
      reason: null,
      outbox: { entries: 0, deadLetters: null, problem: null },
      failingKeys: { thisHour: 0, lastDay: 0, hours: [], problem: null },
      gap: null,
    });
    expect((await sandbox.keymend('status', '--link', 'east-to-west')).stdout).toBe(
      [
        'link east-to-west',
        `  source (127.0.0.1:${source.port}) is a master with ${KEYS} keys`,
        `  target (127.0.0.1:${sandbox.target.port}) is a master with ${KEYS} keys`,
        '  deletes are allowed',
        '  the outbox has 0 entries',
        '  writes of about 0 keys failed in this hour, of 0 in the last 24 hours',
        'keymend',
        '  0 keys under way, 0 escalated',
        `  no worker asks for work on the task queue keymend-${sandbox.prefix.slice(0, -1)}: nothing is repaired`,
        '  no bridge reads failed writes: they wait where they are',
        '',
      ].join('\n'),
    );
  });

  it('shows a side that can’t be reached, and needs neither Temporal nor Kafka', async () => {
    const port = await freePort();
    sandbox.configure({
      link: { source: { url: source.url }, target: { url: `redis://127.0.0.1:${port}` } },
      kafka: { brokers: [`127.0.0.1:${await freePort()}`] },
    });
    const { target, deletes, reason } = await report();
    expect(target).toMatchObject({ role: null, keys: null });
    expect(target.problem).toContain(`target (127.0.0.1:${port}) cannot be reached: nothing listens there`);
    expect(deletes).toBe('refused');
    expect(reason).toBe(target.problem);
  });

  it('shows what waits in the outbox, and that a full dead-letter stream holds it up', async () => {
    for (const [stream, entries] of [
      ['keymend:outbox', 3],
      ['keymend:outbox:dlq', 2],
    ] as const) {
      for (let entry = 0; entry < entries; entry++) await source.client.xadd(stream, '*', 'field', 'value');
    }
    // With Kafka, dead letters are there.
    expect((await report()).outbox).toEqual({ entries: 3, deadLetters: null, problem: null });
    const link = { source: { url: source.url } };
    sandbox.configure({ link, config: { intake: 'redis-stream', stream: { maxEntries: 3 } } });
    expect((await report()).outbox).toEqual({ entries: 3, deadLetters: 2, problem: null });
    await source.client.xadd('keymend:outbox:dlq', '*', 'field', 'value');
    const { outbox } = await report();
    expect(outbox).toMatchObject({ entries: 3, deadLetters: 3 });
    expect(outbox.problem).toMatch(
      /^keymend:outbox:dlq at source \(\S+\) is full \(3 entries, stream.maxEntries is 3\)/,
    );
    expect((await sandbox.keymend('status')).stdout).toContain(outbox.problem);
  });

  it('waits for a side that hangs no longer than a client of its own would, and says which it is', async () => {
    const config = loadConfig(sandbox.configure({ link: { source: { url: source.url } } }), {});
    const patient = connectRedis({ url: sandbox.target.url }, { name: 'target' });
    sandbox.target.freeze();
    try {
      const reports = linkReports(config, undefined, Promise.resolve(new Map()));
      const patience = patient.health().then(() => 'nothing was said');
      const [report] = (await Promise.race([reports, patience])) as LinkReport[];
      expect(report).toMatchObject({ source: { role: 'master', problem: null }, target: { role: null } });
      expect(report!.target.problem).toContain(`target (127.0.0.1:${sandbox.target.port}) did not answer in time`);
    } finally {
      sandbox.target.thaw();
      await patient.close();
    }
  });

  it('shows a target that is a replica', async () => {
    await sandbox.target.client.replicaof('127.0.0.1', 1);
    const { target, deletes, reason } = await report();
    expect(target).toMatchObject({ role: 'replica', keys: KEYS });
    expect(target.problem).toContain('is a replica, not a master; point the link at its master');
    expect([deletes, reason]).toEqual(['refused', target.problem]);
  });
});

describe('the target loses nothing, and keymend status says why deletes are refused, when the source', () => {
  let worker: Running;
  beforeAll(async () => {
    worker = await sandbox.start('worker');
  });
  afterAll(() => worker?.stop());
  afterEach(async () => {
    const { port } = source;
    await source.stop();
    source = await startRedis(SLOW_LOADING, { port });
  });

  it.each([
    ['was flushed', () => source.client.flushall(), /the source may have lost its data/],
    [
      'restarted empty',
      async () => {
        const { port } = source;
        await source.stop();
        source = await startRedis(SLOW_LOADING, { port });
      },
      /the source may have lost its data/,
    ],
    ['is loading a large RDB', () => loadSlowly(source), /is still loading its data; wait until it has ended/],
    [
      'turned replica',
      async () => source.client.replicaof('127.0.0.1', 1),
      /is a replica, not a master; point the link at its master/,
    ],
  ])('%s', async (_what, happens, why) => {
    await happens();
    await until(async () => why.test((await report()).reason ?? ''));
    expect((await report()).deletes).toBe('refused');
    const { code, stderr } = await answered('reconcile', 'k1');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^keymend: Source(Suspicious|Unavailable|NotMaster): source of link east-to-west/);
    expect(await sandbox.target.client.keys('k[0-9]*')).toHaveLength(KEYS);
    await sandbox.keymend('skip', 'k1', '--reason', 'the test has ended');
  });

  it('lost its data, until a person allows the delete of a key', async () => {
    await source.client.flushall();
    const refused = await answered('reconcile', 'k2');
    expect(refused.stderr).toContain('SourceSuspicious');
    const { code, stderr } = await sandbox.keymend('retry', 'k2');
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^the delete guard refused .* --allow-delete`\n$/)]);
    expect(await answered('reconcile', 'k2', '--allow-delete')).toMatchObject({ code: 0 });
    expect(await sandbox.target.client.keys('k[0-9]*')).toHaveLength(KEYS - 1);
    expect((await report()).deletes).toBe('refused');
  });
});

/** Runs a verb until it is answered: a worker of a busy machine may take its time. */
async function answered(...args: string[]): Promise<Finished> {
  for (;;) {
    const finished = await sandbox.keymend(...args);
    if (!finished.stderr.includes('no worker answers')) return finished;
  }
}

/** Makes a server answer LOADING for longer than the test takes. */
async function loadSlowly(loading: RedisServer): Promise<void> {
  await loading.client.call('DEBUG', 'POPULATE', '200000');
  await loading.client.config('SET', 'key-load-delay', '1000');
  await loading.client.config('SET', 'loading-process-events-interval-bytes', '1024');
  loading.client.call('DEBUG', 'RELOAD').catch(() => {});
}
