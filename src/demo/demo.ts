/**
 * The main job on real services: an application writes to two Redis while the link to one of them
 * fails in every way, and for a while that to Kafka too; keymend repairs what got lost; a
 * comparison that knows nothing of the engine says whether both are equal.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { Redis } from 'ioredis';
import { parse as parseYaml, stringify as stringifyYaml } from 'yaml';
import { WORKFLOW_TYPE } from '../../workflows/messages.js';
import { counted } from '../plural.js';
import { type KeymendOptions, type StackInfo, startKeymend, stopKeymend } from '../stack/index.js';
import { startProxy } from '../stack/proxy.js';
import { KEY_PREFIX } from './application.js';
import { type Comparison, compareDatabases, OWN_KEYS } from './compare.js';
import { showProgress } from './progress.js';
import { closedBatches, closedRepairs, countRepairs, type Repairs, retryEscalated } from './repairs.js';
import { type DemoResult, resultOf } from './result.js';
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

const CONVERGENCE_TIMEOUT_MS = 5 * 60_000;
/** All attempts of the policy take half of it. */
const RETRIES_TIMEOUT_MS = 60_000;

/**
 * Runs the demo on an empty stack. Leaves nothing running of its own and no proxy, whatever
 * happens.
 */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { stack, report, signal } = options;
  const source = connect(stack.redis.source);
  const target = connect(stack.redis.target);
  const targetUrl = new URL(stack.redis.target);
  const link = await startProxy({ target: { host: targetUrl.hostname, port: Number(targetUrl.port || 6379) } });
  try {
    await endRepairs(options.client);
    await makeRoom(source, target);
    report('bridge and worker: starting');
    await startKeymend(keymendOptions(options, `redis://127.0.0.1:${link.port}`));
    const since = new Date();
    const { brokers } = stack.kafka;
    const written = await writeThroughFaults({ source, target: link, brokers, report, signal });
    const before = await compareDatabases(source, target);
    report(`${before.differences.length} of ${counted(before.keys, 'key')} differ; the link is back`);
    link.restore();
    const compare = () => compareDatabases(source, target);
    const { repairs, retried, after } = await untilConverged(options, since, compare);
    const closed = await closedRepairs(options.client, since);
    const batches = await closedBatches(options.client, since);
    return resultOf({ written, before, after, closed, batches, retried, escalated: repairs.escalated });
  } finally {
    await stopKeymend(options.directory);
    await link.close();
    source.disconnect();
    target.disconnect();
  }
}

/**
 * Starts bridge and worker again after a demo, on the healthy link and to stay.
 * @throws StackError
 */
export function keepKeymend(options: DemoOptions): Promise<void> {
  options.report('bridge and worker: starting again, on the healthy link');
  return startKeymend(keymendOptions(options, options.stack.redis.target));
}

function connect(url: string): Redis {
  const client = new Redis(url, { protocol: 2 });
  // Without a listener ioredis prints every failed attempt; what matters rejects a command.
  client.on('error', () => {});
  return client;
}

/**
 * The demo compares whole databases, so only its own keys and keymend's may be in them; its own of
 * an earlier run are removed.
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
        `Redis at ${host}:${port} holds ${counted(others, 'key')} not of the demo; it compares whole databases, so give it empty ones`,
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

/**
 * Bridge and worker in a process of their own, which reach the target at `target`: through the
 * failing link, or straight.
 */
function keymendOptions({ stack, directory, cli, signal }: DemoOptions, target: string): KeymendOptions {
  let { config } = stack;
  if (target !== stack.redis.target) {
    const changed = parseYaml(readFileSync(config, 'utf8'));
    changed.links[0].target = { url: target };
    config = join(directory, 'demo.yaml');
    writeFileSync(config, stringifyYaml(changed));
  }
  return { directory, cli, config, environment: environmentFor(stack, directory), signal };
}

/**
 * The environment for a process on the demo's stack: no address or profile of Temporal that a
 * person has set up reaches it.
 */
function environmentFor(stack: StackInfo, directory: string): NodeJS.ProcessEnv {
  const emptyProfile = join(directory, 'temporal.toml');
  writeFileSync(emptyProfile, '[profile.default]\n');
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    TEMPORAL_ADDRESS: stack.temporal.address,
    TEMPORAL_NAMESPACE: 'default',
    TEMPORAL_CONFIG_FILE: emptyProfile,
  };
}

/**
 * Waits until both Redis are equal and no repair is under way. Keys that were given up on while the
 * link was away are tried again once, as an operator does. Those that stay escalated, and whatever
 * differs after five minutes, are left to the result.
 */
async function untilConverged(
  { client, report, signal }: DemoOptions,
  since: Date,
  compare: () => Promise<Comparison>,
): Promise<{ repairs: Repairs; retried: number; after: Comparison }> {
  const started = performance.now();
  const isPast = (ms: number) => performance.now() - started > ms;
  let repairs: Repairs = { running: 0, closed: 0, escalated: 0 };
  let retried = 0;
  let retriedUntilMs: number | undefined;
  let differing = '';
  const progress = showProgress(
    () =>
      `repairing  ${counted(repairs.closed, 'workflow')} done, ${repairs.running} under way, ${repairs.escalated} escalated${differing}`,
    report,
  );
  try {
    for (;;) {
      await sleep(500, undefined, { signal });
      repairs = await countRepairs(client, since);
      const { running, escalated } = repairs;
      if (escalated > 0 && escalated === running && retriedUntilMs === undefined) {
        retried = await retryEscalated(client, since);
        retriedUntilMs = performance.now() - started + RETRIES_TIMEOUT_MS;
        continue;
      }
      const late = isPast(CONVERGENCE_TIMEOUT_MS) || (escalated > 0 && isPast(retriedUntilMs ?? Infinity));
      if (running > 0 && !late) continue;
      // What Temporal lists lags behind, and the bridge behind Kafka: only the comparison knows.
      const after = await compare();
      differing = `, ${counted(after.differences.length, 'key differs', 'keys differ')}`;
      if (after.differences.length === 0 || late) return { repairs, retried, after };
    }
  } finally {
    progress.stop();
  }
}
