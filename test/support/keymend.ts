/**
 * keymend as its users run it: the built command line, in processes of its own, against a link of
 * its own.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { Kafka, logLevel, Partitioners, type Producer } from 'kafkajs';
import { stringify } from 'yaml';
import { IS_FULL } from './cases.js';
import { NET_MS } from './eventually.js';
import { askingAgain } from './lost-queries.js';
import { type RedisServer, startRedis } from './redis.js';
import { stack } from './services.js';
import { createTopics } from './topics.js';

const CLI = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

/** For a verb that tells 100,000 keys something. */
const FULL_NET_MS = 60 * 60_000;

/** Nothing that a developer has set up for Temporal or keymend reaches the tests. */
export const ENVIRONMENT = {
  PATH: process.env.PATH,
  TEMPORAL_CONFIG_FILE: fileURLToPath(new URL('./empty-profile.toml', import.meta.url)),
};

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly process: ChildProcess;
  /** What it has logged so far. */
  log(): string;
  /** Resolves when the log contains `text`; rejects when the process ends before. */
  logged(text: string): Promise<void>;
  /**
   * Sends a signal and resolves with the exit code (null: ended by the signal) when the process is
   * gone.
   */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/**
 * A link with its own two Redis, topics, task queue and workflow ID prefix, on the stack that all
 * tests share.
 */
export interface Sandbox {
  readonly source: RedisServer;
  readonly target: RedisServer;
  readonly topic: string;
  readonly deadLetterTopic: string;
  readonly prefix: string;
  readonly client: Client;
  readonly producer: Producer;
  readonly kafka: Kafka;
  /** Writes the configuration again, changed. */
  configure(changes: { link?: object; kafka?: object; config?: object }): string;
  /** Runs one verb to its end. */
  keymend(...args: string[]): Promise<Finished>;
  /** Starts a verb that runs on, and waits until it is ready. */
  start(...args: string[]): Promise<Running>;
  close(): Promise<void>;
}

/**
 * A record as any program may write it: made by hand from the documented format, not by our code.
 * By default of a write that was refused and may be sent twice, so that nothing has to be waited
 * for.
 */
export function recordOf(key: string, more: object = {}): { key: string; value: string } {
  const value = {
    specVersion: 1,
    id: randomUUID(),
    link: 'east-to-west',
    key,
    outcome: 'refused',
    command: 'SET',
    failedAt: new Date().toISOString(),
    ...more,
  };
  return { key, value: JSON.stringify(value) };
}

export async function createSandbox(): Promise<Sandbox> {
  const name = randomUUID().slice(0, 8);
  const { temporal, kafka: kafkaInfo } = stack();
  const [source, target] = await Promise.all([startRedis(), startRedis()]);
  const connection = await Connection.connect({ address: temporal.address });
  const kafka = new Kafka({ brokers: kafkaInfo.brokers, logLevel: logLevel.NOTHING });
  const topic = `failed-writes-${name}`;
  const deadLetterTopic = `${topic}.dlq`;
  const admin = kafka.admin();
  await admin.connect();
  await createTopics(admin, { topic, numPartitions: 4 }, { topic: deadLetterTopic });
  await admin.disconnect();
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  const directory = mkdtempSync(join(tmpdir(), 'keymend-sandbox-'));
  const configPath = join(directory, 'keymend.yaml');
  const running = new Set<Running>();
  const prefix = `${name}/`;

  const sandbox: Sandbox = {
    source,
    target,
    topic,
    deadLetterTopic,
    prefix,
    client: new Client({
      connection,
      interceptors: { workflow: [askingAgain(() => connection)] },
    }),
    producer,
    kafka,
    configure(changes) {
      const config = {
        temporal: { taskQueue: `keymend-${name}`, address: temporal.address },
        kafka: { brokers: kafkaInfo.brokers, topic, deadLetterTopic, groupId: `bridge-${name}`, ...changes.kafka },
        links: [
          {
            name: 'east-to-west',
            source: { url: source.url },
            target: { url: target.url },
            workflowIdPrefix: prefix,
            settle: '200ms',
            ...changes.link,
          },
        ],
        ...changes.config,
      };
      writeFileSync(configPath, stringify(config));
      return configPath;
    },
    keymend: (...args) => runKeymend([...args, '--config', configPath]),
    async start(...args) {
      const started = spawnKeymend([...args, '--config', configPath]);
      running.add(started);
      await started.logged(args[0] === 'worker' ? 'worker is ready' : 'bridge is ready');
      return started;
    },
    async close() {
      await Promise.all([...running].map((one) => one.stop('SIGKILL')));
      await producer.disconnect();
      await connection.close();
      await Promise.all([source.stop(), target.stop()]);
      rmSync(directory, { recursive: true, force: true });
      for (const one of running) requireNoWarning(one.log());
    },
  };
  sandbox.configure({});
  return sandbox;
}

/** Node tells a user of what a program does wrong with it, a leak for example. */
function requireNoWarning(stderr: string): void {
  const [warning] = /^\(node:\d+\) .*/m.exec(stderr) ?? [];
  if (warning !== undefined) throw new Error(`keymend was warned by Node: ${warning}`);
}

/**
 * Runs the command line to its end. The environment says nothing about keymend or Temporal, unless
 * `environment` does.
 */
export function runKeymend(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return new Promise<Finished>((resolve) => {
    execFile(
      process.execPath,
      [CLI, ...args],
      { env: { ...ENVIRONMENT, ...environment }, timeout: IS_FULL ? FULL_NET_MS : NET_MS, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
    );
  }).then((finished) => {
    requireNoWarning(finished.stderr);
    return finished;
  });
}

/**
 * Starts a verb that runs on. The environment is that of `runKeymend`.
 * @param cli that of another build
 */
export function spawnKeymend(args: readonly string[], environment: NodeJS.ProcessEnv = {}, cli = CLI): Running {
  const child = spawn(process.execPath, [cli, ...args], {
    env: { ...ENVIRONMENT, ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
    log += chunk;
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const killOnExit = () => child.kill('SIGKILL');
  process.once('exit', killOnExit);
  return {
    process: child,
    log: () => log,
    logged: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!log.includes(text)) return;
          child.stderr!.off('data', look);
          resolve();
        };
        child.stderr!.on('data', look);
        void exited.then(() => reject(new Error(`keymend ${args[0]} ended before it logged "${text}": ${log}`)));
        look();
      }),
    async stop(signal = 'SIGTERM') {
      child.kill(signal);
      const code = await exited;
      process.removeListener('exit', killOnExit);
      return code;
    },
  };
}
