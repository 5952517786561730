/**
 * The lane of a key: signal with start as the bridge does it, one workflow, one repair, done;
 * against workflows that do nothing at all, and those that call one local activity which does
 * nothing: what a key can't do without. On the same server, by a worker with the same settings.
 */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { Redis } from 'ioredis';
import pMap from 'p-map';
import { pino } from 'pino';
import { test } from 'vitest';
import { NONE_UNFINISHED } from '../src/bridge/runs/unfinished-runs.js';
import { createSignaller } from '../src/bridge/signaller.js';
import { type LinkConfig, parseConfig } from '../src/config.js';
import { stackDown, stackUp } from '../src/stack/index.js';
import { LinkAttribute } from '../src/temporal/link-attribute.js';
import { startWorker, workerLimits } from '../src/worker/worker.js';
import { type RedisServer, startRedis } from '../test/support/redis.js';
import type { FailedWrite } from '../workflows/messages.js';
import { median, report, versions } from './ratio.js';

const KEYS = 200;
const TURNS = 5;
/** As many signals at once as the bridge sends. */
const CONCURRENCY = 64;
const TURN_ENDS_MS = 120_000;
const BARE_QUEUE = 'bare';
const logger = pino({ level: 'silent' });

/**
 * Between two keys beside the link that hangs: about a third of what the machine can do. Where all
 * wait for the processor the times say nothing of slots.
 */
const APART_MS = 60;
/** How many keys of the link that hangs are under way beside each turn: more than it has slots. */
const HANGING_KEYS = 200;
/** Until each of these has had its first attempt: to start them costs the machine as well. */
const STARTED_MS = 6_000;

/** Per key. */
interface Cost {
  readonly ms: number;
  /** From the start of a workflow to its end, of the slowest but one in a hundred. */
  readonly p99Ms: number;
  /** Of this process: client and worker. */
  readonly clientCpuMs: number;
  readonly serverCpuMs: number;
  readonly transitions: number;
  readonly events: number;
}

interface Lane {
  readonly name: string;
  readonly taskQueue: string;
  readonly workflowIdPrefix: string;
  /** Makes the keys differ. Not timed. */
  readonly prepare: (ids: readonly string[]) => Promise<unknown>;
  readonly start: (id: string) => Promise<unknown>;
}

test('lane', async () => {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter: 'ERROR', forward: {} } },
  });
  const directory = mkdtempSync(join(tmpdir(), 'keymend-bench-'));
  try {
    const stack = await stackUp({ directory, environment: process.env, report: () => {}, preferredPorts: 'free' });
    const { address } = stack.temporal;
    const [source, target] = [{ url: stack.redis.source }, { url: stack.redis.target }];
    const silent = await startRedis();
    const retry = { initialInterval: '1s', maximumInterval: '1s', maximumAttempts: 100 };
    const links = [
      { name: 'l', source, target, workflowIdPrefix: 'l/', settle: '1s' },
      {
        name: 'hangs',
        source: { url: `${source.url}/1` },
        target: { url: silent.url },
        workflowIdPrefix: 'hangs/',
        retry,
      },
    ];
    const config = parseConfig(
      JSON.stringify({ intake: 'redis-stream', links, temporal: { taskQueue: `lane-${randomUUID()}` } }),
      'bench',
      {},
    );
    const connection = await NativeConnection.connect({ address });
    const client = new Client({ connection: await Connection.connect({ address }) });
    const deadLetters = { kind: 'topic' as const, publish: async () => {}, close: async () => {} };
    const keymend = await startWorker({
      config,
      connection,
      namespace: 'default',
      version: 'bench',
      deadLetters,
      usableAttributes: async () => [],
      logger,
    });
    const bare = await Worker.create({
      connection,
      taskQueue: BARE_QUEUE,
      workflowsPath: fileURLToPath(new URL('bare-workflow.js', import.meta.url)),
      activities: { nothing: async () => {} },
      ...workerLimits(config),
    });
    const bareRun = bare.run();
    const redis = new Redis(source.url);
    const { serverVersion } = await client.workflowService.getSystemInfo({});
    console.log(`${await versions(redis)}, Temporal ${serverVersion}, ${TURNS} turns of ${KEYS} keys each`);

    const { taskQueue } = config.temporal;
    const signaller = createSignaller({
      client: client.workflow,
      taskQueue,
      unfinished: NONE_UNFINISHED,
      attribute: new LinkAttribute(logger),
      logger,
    });
    const signal = (link: LinkConfig, id: string, more: Partial<FailedWrite>) => {
      const event = { ...failedWrite(id), link: link.name, ...more, failedAt: new Date().toISOString() };
      const record = { position: event.record } as never;
      const group = { kind: 'key', link, key: Buffer.from(id), writes: [{ event, record }] } as const;
      return signaller.signal(group, [event], new AbortController().signal);
    };
    const [link, hanging] = config.links as [LinkConfig, LinkConfig];
    const keymendLane = (name: string, more: Partial<FailedWrite>): Lane => ({
      name,
      taskQueue,
      workflowIdPrefix: link.workflowIdPrefix,
      prepare: (ids) => redis.mset(Object.fromEntries(ids.map((id) => [id, `value of ${id}`]))),
      start: (id) => signal(link, id, more),
    });
    const atOnce = keymendLane('healed at once', { outcome: 'refused', idempotent: true });
    const bareLane = (name: string): Lane => ({
      name,
      taskQueue: BARE_QUEUE,
      workflowIdPrefix: '',
      prepare: async () => {},
      start: (workflowId) =>
        client.workflow.signalWithStart(name, { workflowId, taskQueue: BARE_QUEUE, signal: 'failedWrites' }),
    });
    const lanes: Lane[] = [
      bareLane('bare'),
      bareLane('bareWithActivity'),
      atOnce,
      keymendLane('verified', { outcome: 'unknown', idempotent: true }),
    ];
    await compare(client, lanes, serverPid(address));
    await besideOneThatHangs(client, atOnce, silent, (id) =>
      signal(hanging, id, { outcome: 'refused', idempotent: true }),
    );

    redis.disconnect();
    await silent.stop();
    bare.shutdown();
    await Promise.all([bareRun, keymend.stop()]);
    await Promise.all([connection.close(), client.connection.close()]);
  } finally {
    await stackDown({ directory, report: () => {} });
    rmSync(directory, { recursive: true, force: true });
  }
});

/** The same keys while another link of the worker has a target that does not answer, and not. */
async function besideOneThatHangs(
  client: Client,
  lane: Lane,
  silent: RedisServer,
  start: (id: string) => Promise<unknown>,
): Promise<void> {
  let before: Promise<unknown> = Promise.resolve();
  const steady = {
    ...lane,
    start: (id: string) => {
      before = before.then(() => sleep(APART_MS)).then(() => lane.start(id));
      return before;
    },
  };
  const p99: { alone: number[]; beside: number[] } = { alone: [], beside: [] };
  const ids = Array.from({ length: HANGING_KEYS }, () => `hangs-${randomUUID()}`);
  for (let turn = 0; turn < TURNS; turn++) {
    p99.alone.push((await measure(client, steady, null)).p99Ms);
    silent.freeze();
    await pMap(ids, start, { concurrency: CONCURRENCY });
    await sleep(STARTED_MS);
    p99.beside.push((await measure(client, steady, null)).p99Ms);
    silent.thaw();
    // Its keys are attempted again within a second.
    const query = `WorkflowId STARTS_WITH 'hangs/' AND ExecutionStatus = 'Running'`;
    while ((await client.workflow.count(query)).count > 0) await sleep(100);
  }
  const [alone, beside] = [median(p99.alone), median(p99.beside)];
  console.log(`p99 of a key: ${alone.toFixed(0)} ms alone, ${beside.toFixed(0)} ms beside a link that hangs`);
  report('p99 of a key alone: beside a link that hangs', alone / beside, 1 / 1.5);
}

function failedWrite(key: string): FailedWrite {
  return {
    specVersion: 1,
    id: randomUUID(),
    link: 'l',
    key,
    command: 'SET',
    failedAt: new Date().toISOString(),
    error: { code: 'TIMEOUT', message: 'the target did not answer within 500 ms; the connection was reset' },
    origin: 'orders-api',
    record: { topic: 'keymend.failed-writes', partition: 0, offset: '0', timestamp: '1' },
  };
}

/** Turns of each in another order, after one of each that does not count. */
async function compare(client: Client, lanes: readonly Lane[], pid: number | null): Promise<void> {
  const costs = new Map<string, Cost[]>(lanes.map(({ name }) => [name, []]));
  for (let turn = 0; turn <= TURNS; turn++) {
    for (const lane of turn % 2 === 0 ? lanes : [...lanes].reverse()) {
      const cost = await measure(client, lane, pid);
      if (turn > 0) costs.get(lane.name)!.push(cost);
    }
  }
  const typical = (name: string, what: keyof Cost) => median(costs.get(name)!.map((cost) => cost[what]));
  for (const { name } of lanes) {
    const [seconds, client, server] = [typical(name, 'ms'), typical(name, 'clientCpuMs'), typical(name, 'serverCpuMs')];
    console.log(
      `${name.padEnd(16)} ${(1000 / seconds).toFixed(1)} keys/s; CPU a key: client and worker ${client.toFixed(1)} ms, ` +
        `server ${pid === null ? 'unknown' : `${server.toFixed(1)} ms`}; ${typical(name, 'transitions')} state transitions, ` +
        `${typical(name, 'events')} history events`,
    );
    if (name === 'bare') continue;
    const ratio = (to: string, what: keyof Cost) => (typical(to, what) / typical(name, what)).toFixed(2);
    for (const to of lanes.slice(0, 2).filter((lane) => lane.name !== name)) {
      const cpu = `CPU of client and worker ${ratio(to.name, 'clientCpuMs')}, of the server ${ratio(to.name, 'serverCpuMs')}`;
      console.log(`  ${to.name} : ${name}: time ${ratio(to.name, 'ms')}, ${cpu}`);
    }
    if (name !== 'bareWithActivity') report(`${name}, keys/s: bare`, typical('bare', 'ms') / typical(name, 'ms'), 0.9);
  }
}

async function measure(client: Client, lane: Lane, pid: number | null): Promise<Cost> {
  const prefix = `bench-lane-${randomUUID()}`;
  const ids = Array.from({ length: KEYS }, (_, index) => `${prefix}-${index}`);
  await lane.prepare(ids);
  const query = `TaskQueue = '${lane.taskQueue}' AND ExecutionStatus = 'Completed'`;
  const closed = async () => (await client.workflow.count(query)).count;
  const wanted = (await closed()) + KEYS;
  const [begun, cpu, serverCpu] = [performance.now(), process.cpuUsage(), cpuOf(pid)];
  await pMap(ids, lane.start, { concurrency: CONCURRENCY });
  while ((await closed()) < wanted) {
    if (performance.now() - begun > TURN_ENDS_MS)
      throw new Error(`the workflows of ${lane.name} do not come to an end`);
    // A count costs the server as much as a key: rarely, and it is a share of a turn.
    await sleep(200);
  }
  const { user, system } = process.cpuUsage(cpu);
  const [ms, serverMs] = [performance.now() - begun, cpuOf(pid) - serverCpu];
  const { raw } = await client.workflow.getHandle(lane.workflowIdPrefix + ids[KEYS >> 1]!).describe();
  const { stateTransitionCount, historyLength } = raw.workflowExecutionInfo!;
  return {
    ms: ms / KEYS,
    p99Ms: await p99Of(client, `${query} AND WorkflowId STARTS_WITH '${lane.workflowIdPrefix}${prefix}'`),
    clientCpuMs: (user + system) / 1000 / KEYS,
    serverCpuMs: serverMs / KEYS,
    transitions: Number(stateTransitionCount),
    events: Number(historyLength),
  };
}

/** How long the workflows of a query lasted, in ms. */
async function p99Of(client: Client, query: string): Promise<number> {
  const lasted: number[] = [];
  for await (const { executionTime, closeTime } of client.workflow.list({ query })) {
    lasted.push(closeTime!.getTime() - executionTime!.getTime());
  }
  return lasted.sort((a, b) => a - b)[Math.ceil(0.99 * lasted.length) - 1]!;
}

/** The process that serves Temporal at an address of this machine; null where there is no /proc. */
function serverPid(address: string): number | null {
  const port = address.split(':').at(-1)!;
  try {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const serves = (pid: string) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return words.includes('start-dev') && words[words.indexOf('--port') + 1] === port;
      } catch {
        return false; // It has ended meanwhile.
      }
    };
    return Number(pids.find(serves) ?? Number.NaN) || null;
  } catch {
    return null;
  }
}

/** CPU time since its start, in ms. */
function cpuOf(pid: number | null): number {
  if (pid === null) return Number.NaN;
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  const TICK_MS = 10;
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
