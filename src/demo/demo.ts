/**
 * The main job on real services, in three acts: an application writes to two Redis while the link
 * to one of them fails in every way, and for a while that to Kafka too; an outage of thousands of
 * keys; a sweep, which finds what nobody recorded. A comparison that knows nothing of the engine
 * says whether both are equal.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { Redis } from 'ioredis';
import { parse as parseYaml, stringify as stringifyYaml } from 'yaml';
import { counted } from '../plural.js';
import { type KeymendOptions, type StackInfo, startKeymend, stopKeymend } from '../stack/index.js';
import { startProxy } from '../stack/proxy.js';
import { KEY_PREFIX } from './application.js';
import { compareDatabases, OWN_KEYS } from './compare.js';
import { convergence } from './converging.js';
import { throughOutage } from './outage.js';
import { endRepairs } from './repairs.js';
import { type DemoResult, resultOf } from './result.js';
import type { Stage } from './stage.js';
import { throughSweep } from './sweeping.js';
import { Timeline } from './timeline.js';
import { timelinePage } from './timeline-html.js';
import { throughFaults } from './writing.js';

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
  /** Makes of a key what can be shown. */
  readonly visible: (text: string) => string;
}

/** What is another than `stack up` writes: many keys are to be seen healing in little time. */
const SETTINGS = { surge: { enter: 100, leave: 10 }, budget: { opsPerSecond: 20_000 } };

/**
 * Runs the demo on an empty stack. Leaves nothing running of its own and no proxy, whatever
 * happens.
 */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { stack } = options;
  const source = connect(stack.redis.source);
  const target = connect(stack.redis.target);
  const targetUrl = new URL(stack.redis.target);
  const link = await startProxy({ target: { host: targetUrl.hostname, port: Number(targetUrl.port || 6379) } });
  const watching = new AbortController();
  try {
    const names = namesIn(stack.config);
    await endRepairs(options.client, names.taskQueue);
    await makeRoom(source, target);
    options.report('bridge and worker: starting');
    await startKeymend(keymendOptions(options, `redis://127.0.0.1:${link.port}`));
    const timeline = new Timeline();
    const compare = () => compareDatabases(source, target);
    const { brokers } = stack.kafka;
    const stage: Stage = { ...options, ...names, source, target, link, brokers, timeline, compare };
    const watched = timeline.watch(compare, watching.signal);
    const since = new Date();
    const written = await throughFaults(stage);
    const outage = await throughOutage(stage);
    const converged = await convergence(stage, since);
    const sweep = await throughSweep(stage);
    watching.abort();
    await watched;
    const after = await compare();
    timeline.compared(after);
    const page = join(options.directory, 'timeline.html');
    const result = resultOf({ written, outage, converged, sweep, after, page });
    writeFileSync(page, timelinePage(timeline.record(), result, options.visible));
    return result;
  } finally {
    watching.abort();
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

function namesIn(config: string): Pick<Stage, 'linkName' | 'taskQueue'> {
  const { links, temporal } = parseYaml(readFileSync(config, 'utf8'));
  return { linkName: links[0].name, taskQueue: temporal.taskQueue };
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

/**
 * Bridge and worker in a process of their own, which reach the target at `target`: through the
 * failing link, or straight.
 */
function keymendOptions({ stack, directory, cli, signal }: DemoOptions, target: string): KeymendOptions {
  let { config } = stack;
  if (target !== stack.redis.target) {
    const changed = parseYaml(readFileSync(config, 'utf8'));
    changed.surge = SETTINGS.surge;
    Object.assign(changed.links[0], { target: { url: target }, budget: SETTINGS.budget });
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
