/**
 * The main job on real services: an application writes to two Redis while the link to one of them fails in every way, and for
 * a while that to Kafka too; keymend repairs what got lost; a comparison that knows nothing of the engine says whether both
 * are equal.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { Redis } from 'ioredis';
import { parse as parseYaml, stringify as stringifyYaml } from 'yaml';
import { WORKFLOW_TYPE } from '../../workflows/messages.js';
import type { StackInfo } from '../stack/index.js';
import { startProxy } from '../stack/proxy.js';
import { KEY_PREFIX } from './application.js';
import { type Comparison, compareDatabases, OWN_KEYS } from './compare.js';
import { showProgress } from './progress.js';
import { closedRepairs, countRepairs, type Repairs } from './repairs.js';
import { writeThroughFaults } from './writing.js';

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
  /** Failed-write records that Kafka or the outbox took. */
  readonly failedWrites: number;
  /** How many of them waited in the outbox for the relay, because the application could not reach Kafka. */
  readonly throughOutbox: number;
  /** How often the application stopped sending to a target that did not answer. */
  readonly breakerOpened: number;
  /** Before the repairs and after: meanwhile keys were deleted on the target. */
  readonly keysComparedBefore: number;
  readonly keysCompared: number;
  readonly divergedBefore: number;
  readonly repaired: number;
  readonly divergedNow: number;
  readonly escalated: number;
  /** From the last failed write of a key until it was equal again, the outage included; null when no key had to be repaired. */
  readonly convergenceMs: { readonly p50: number; readonly p99: number } | null;
  readonly lostRecords: number;
}

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
    const { brokers } = stack.kafka;
    const written = await writeThroughFaults({ source, target: link, brokers, signal: options.signal });
    report(`${written.operations} operations written, ${written.failedWrites} of them failed on the target`);
    const before = await compareDatabases(source, target);
    report(`${before.differences.length} of ${before.keys} keys differ; the link is back`);
    link.restore();
    const compare = () => compareDatabases(source, target);
    const { repairs, after } = await untilConverged(options, since, compare);
    const closed = await closedRepairs(options.client, since);
    return {
      operations: written.operations,
      failedWrites: written.failedWrites,
      throughOutbox: written.throughOutbox,
      breakerOpened: written.breakerOpened,
      lostRecords: written.lost,
      keysComparedBefore: before.keys,
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

/**
 * The demo compares whole databases, so only its own keys and keymend's may be in them; its own of an earlier run are removed.
 */
async function makeRoom(...sides: Redis[]): Promise<void> {
  for (const side of sides) {
    let others = 0;
    for await (const keys of side.scanStream({ count: 1000 }) as AsyncIterable<string[]>) {
      const ours = keys.filter((key) => key.startsWith(KEY_PREFIX));
      if (ours.length > 0) await side.unlink(...ours);
      others += keys.filter((key) => !key.startsWith(KEY_PREFIX) && !key.startsWith(OWN_KEYS)).length;
    }
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
  lastFailedAt: ReadonlyMap<string, number>,
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
