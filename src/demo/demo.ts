/**
 * The main job on real services: an application writes to two Redis while the link to one of them is slow, then cut; keymend
 * repairs what got lost; a comparison that knows nothing of the engine says whether both are equal.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { Redis } from 'ioredis';
import { parse as parseYaml, stringify as stringifyYaml } from 'yaml';
import { type FailedWrite, WORKFLOW_TYPE } from '../../workflows/messages.js';
import { createDualWriter } from '../dual-write/dual-writer.js';
import { createKafkaRecordSink } from '../dual-write/kafka-record-sink.js';
import { mirrorOptions } from '../dual-write/mirror.js';
import type { RecordSink } from '../dual-write/publisher.js';
import type { StackInfo } from '../stack/index.js';
import { type FaultProxy, startProxy } from '../stack/proxy.js';
import { KEY_PREFIX, writeOnce } from './application.js';
import { type Comparison, compareDatabases } from './compare.js';
import { showProgress } from './progress.js';
import { closedRepairs, countRepairs, type Repairs } from './repairs.js';

export interface DemoOptions {
  readonly stack: StackInfo;
  /** Where configuration and log of the demo go. */
  readonly directory: string;
  readonly client: Client;
  /** Aborting it ends the demo early; it then rejects with the signal's reason. */
  readonly signal: AbortSignal;
  /** The script that runs `keymend`, for the process with bridge and worker. */
  readonly cli: string;
  readonly report: (line: string) => void;
}

export interface DemoResult {
  readonly operations: number;
  readonly failedWrites: number;
  readonly keysCompared: number;
  readonly divergedBefore: number;
  readonly repaired: number;
  readonly divergedNow: number;
  readonly escalated: number;
  /** From the last failed write of a key until it was equal again, the outage included; null when no key had to be repaired. */
  readonly convergenceMs: { readonly p50: number; readonly p99: number } | null;
  readonly lostRecords: number;
}

const KEYS_PER_TYPE = 60;
const MIRROR_TIMEOUT_MS = 250;
/** What the link does and for how many operations. The last phase is an outage, so that there is something to see. */
const PHASES = [
  { name: 'healthy', operations: 700, fault: (link: FaultProxy) => link.restore() },
  { name: 'slow', operations: 700, fault: (link: FaultProxy) => link.slow(4 * MIRROR_TIMEOUT_MS) },
  { name: 'restored', operations: 500, fault: (link: FaultProxy) => link.restore() },
  { name: 'cut', operations: 700, fault: (link: FaultProxy) => link.cut() },
  { name: 'restored', operations: 400, fault: (link: FaultProxy) => link.restore() },
  { name: 'cut', operations: 1000, fault: (link: FaultProxy) => link.cut() },
] as const;
const PAUSE_BETWEEN_WRITES_MS = 2;
const CONVERGENCE_TIMEOUT_MS = 5 * 60_000;
const START_TIMEOUT_MS = 60_000;

/** Runs the demo on an empty stack. Leaves nothing running of its own and no proxy, whatever happens. */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { stack, report } = options;
  const source = new Redis(stack.redis.source, { protocol: 2 });
  const target = new Redis(stack.redis.target, { protocol: 2 });
  const targetUrl = new URL(stack.redis.target);
  const link = await startProxy({ target: { host: targetUrl.hostname, port: Number(targetUrl.port || 6379) } });
  let keymend: ChildProcess | undefined;
  try {
    await endRepairs(options.client);
    await makeRoom(source, target);
    keymend = await startKeymend(options, `redis://127.0.0.1:${link.port}`);
    const since = new Date();
    const written = await writeWhileLinkFails(options, source, link);
    const before = await compareDatabases(source, target);
    report(`${before.differences.length} of ${before.keys} keys differ; the link is back`);
    link.restore();
    const compare = () => compareDatabases(source, target);
    const { repairs, after } = await untilConverged(options, since, compare);
    const closed = await closedRepairs(options.client, since);
    return {
      operations: written.operations,
      failedWrites: written.failedWrites,
      lostRecords: written.lost,
      keysCompared: after.keys,
      divergedBefore: before.differences.length,
      repaired: new Set(closed.filter(({ outcome }) => outcome === 'repaired').map(({ workflowId }) => workflowId))
        .size,
      divergedNow: after.differences.length,
      escalated: repairs.escalated,
      convergenceMs: convergence(
        closed.map(({ workflowId, closedAt }) => [workflowId, closedAt]),
        written.lastFailedAt,
      ),
    };
  } finally {
    if (keymend !== undefined) await stop(keymend);
    await link.close();
    source.disconnect();
    target.disconnect();
  }
}

/** The demo compares whole databases, so only its own keys may be in them; those of an earlier run are removed. */
async function makeRoom(...sides: Redis[]): Promise<void> {
  for (const side of sides) {
    for await (const keys of side.scanStream({ match: `${KEY_PREFIX}*`, count: 1000 })) {
      if (keys.length > 0) await side.unlink(...(keys as string[]));
    }
    const others = await side.dbsize();
    if (others > 0) {
      const { host, port } = side.options;
      throw new Error(
        `Redis at ${host}:${port} holds ${others} keys that are not the demo's; it compares whole databases, so give it empty ones`,
      );
    }
  }
}

/** Repairs of an earlier run that was broken off would go on with the keys of this one. */
async function endRepairs(client: Client): Promise<void> {
  const query = `WorkflowType = "${WORKFLOW_TYPE}" AND ExecutionStatus = "Running" AND WorkflowId STARTS_WITH "${KEY_PREFIX}"`;
  for await (const { workflowId } of client.workflow.list({ query })) {
    await client.workflow.getHandle(workflowId).terminate('a new demo begins');
  }
}

/** Bridge and worker in a process of their own, which reach the target through the failing link as the application does. */
async function startKeymend({ stack, directory, cli, signal }: DemoOptions, target: string): Promise<ChildProcess> {
  const config = parseYaml(readFileSync(stack.config, 'utf8'));
  config.links[0].target = { url: target };
  const path = join(directory, 'demo.yaml');
  writeFileSync(path, stringifyYaml(config));
  const logPath = join(directory, 'demo.log');
  const log = openSync(logPath, 'w');
  const child = spawn(process.execPath, [cli, 'start', '--config', path], {
    stdio: ['ignore', 'ignore', log],
    env: environmentFor(stack, directory),
  });
  try {
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!readFileSync(logPath, 'utf8').includes('bridge is ready')) {
      const ended = child.exitCode !== null || child.signalCode !== null;
      if (ended || Date.now() > deadline)
        throw new Error(`keymend did not start: ${readFileSync(logPath, 'utf8').trim()}`);
      await sleep(100, undefined, { signal });
    }
    return child;
  } catch (error) {
    await stop(child);
    throw error;
  }
}

/** The environment for a process on the demo's stack: no address or profile of Temporal that a person has set up reaches it. */
export function environmentFor(stack: StackInfo, directory: string): NodeJS.ProcessEnv {
  const emptyProfile = join(directory, 'temporal.toml');
  writeFileSync(emptyProfile, '[profile.default]\n');
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    TEMPORAL_ADDRESS: stack.temporal.address,
    TEMPORAL_NAMESPACE: 'default',
    TEMPORAL_CONFIG_FILE: emptyProfile,
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await ended;
  clearTimeout(force);
}

interface Written {
  operations: number;
  failedWrites: number;
  lost: number;
  /** By key, in ms since the epoch. */
  lastFailedAt: Map<string, number>;
}

async function writeWhileLinkFails(
  { stack, report, signal }: DemoOptions,
  source: Redis,
  link: FaultProxy,
): Promise<Written> {
  const written: Written = { operations: 0, failedWrites: 0, lost: 0, lastFailedAt: new Map() };
  const kafka = createKafkaRecordSink({ kafka: { brokers: stack.kafka.brokers }, topic: 'keymend.failed-writes' });
  const records: RecordSink = {
    async publish(batch: readonly FailedWrite[]) {
      await kafka.publish(batch);
      written.failedWrites += batch.length;
      for (const { key, failedAt } of batch) written.lastFailedAt.set(key, Date.parse(failedAt));
    },
  };
  const mirror = new Redis(link.port, '127.0.0.1', {
    ...mirrorOptions(MIRROR_TIMEOUT_MS),
    retryStrategy: () => 100,
  });
  mirror.on('error', () => {}); // The writer turns every failure into a record.
  const redis = createDualWriter({
    link: 'east-to-west',
    source,
    target: mirror,
    records,
    origin: 'demo',
    onError: (error) => {
      written.lost += error.records.length;
    },
  });
  let phase: string = PHASES[0].name;
  const line = showProgress(
    () => `link ${phase.padEnd(8)}  ${written.operations} operations, ${written.failedWrites} failed on the target`,
  );
  try {
    for (const { name, operations, fault } of PHASES) {
      phase = name;
      fault(link);
      for (let i = 0; i < operations; i++) {
        await writeOnce(redis, KEYS_PER_TYPE, Math.random);
        written.operations += 1;
        await sleep(PAUSE_BETWEEN_WRITES_MS, undefined, { signal });
      }
    }
    const { notRecorded } = await redis.close();
    written.lost += notRecorded.length;
  } finally {
    line.stop();
    mirror.disconnect();
    await kafka.close();
  }
  report(`${written.operations} operations written, ${written.failedWrites} of them failed on the target`);
  return written;
}

/**
 * Waits until both Redis are equal and no repair is under way; a key that is escalated, and whatever still differs after five minutes,
 * is left to the result.
 */
async function untilConverged(
  { client, signal }: DemoOptions,
  since: Date,
  compare: () => Promise<Comparison>,
): Promise<{ repairs: Repairs; after: Comparison }> {
  const deadline = Date.now() + CONVERGENCE_TIMEOUT_MS;
  let repairs: Repairs = { running: 0, closed: 0, escalated: 0 };
  const line = showProgress(
    () => `repairing  ${repairs.closed} done, ${repairs.running} under way, ${repairs.escalated} escalated`,
  );
  try {
    for (;;) {
      await sleep(500, undefined, { signal });
      repairs = await countRepairs(client, since);
      if (repairs.running > repairs.escalated && Date.now() < deadline) continue;
      // What Temporal lists lags behind, and the bridge behind Kafka: only the comparison knows.
      const after = await compare();
      if (after.differences.length === 0 || repairs.escalated > 0 || Date.now() > deadline) return { repairs, after };
    }
  } finally {
    line.stop();
  }
}

function convergence(
  closed: [key: string, closedAt: number][],
  lastFailedAt: Map<string, number>,
): DemoResult['convergenceMs'] {
  const closedAt = new Map<string, number>();
  for (const [key, at] of closed) closedAt.set(key, Math.max(at, closedAt.get(key) ?? 0));
  const times = [...lastFailedAt].flatMap(([key, failed]) => {
    const at = closedAt.get(key);
    return at === undefined ? [] : [Math.max(0, at - failed)];
  });
  if (times.length === 0) return null;
  times.sort((a, b) => a - b);
  const percentile = (p: number) => times[Math.min(times.length - 1, Math.floor((p / 100) * times.length))]!;
  return { p50: percentile(50), p99: percentile(99) };
}
