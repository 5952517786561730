/**
 * What the tests of the stack share: directories that leave nothing behind, and a look at the
 * processes in them.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { onTestFinished } from 'vitest';
import { stackDown } from '../../src/stack/index.js';
import { stack } from '../support/services.js';

export const silent = () => {};

/**
 * A directory for a stack; at the end of the test, failed or not, its services are stopped and it
 * is removed.
 */
export function stackDirectory(): string {
  const directory = temporaryFolder();
  onTestFinished(() => stopAndRemove(directory));
  return directory;
}

/** A folder that goes with the test. */
export function scratchFolder(): string {
  const folder = temporaryFolder();
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function temporaryFolder(): string {
  return mkdtempSync(join(realpathSync(tmpdir()), 'keymend-stack-test-'));
}

export async function stopAndRemove(directory: string): Promise<void> {
  await stackDown({ directory, report: silent });
  rmSync(directory, { recursive: true, force: true });
}

/**
 * An environment in which the run's own stack serves all but what is named, so that only that gets
 * started.
 */
export function onlyStarting(
  ...started: ('temporal' | 'kafka' | 'redis-source' | 'redis-target')[]
): NodeJS.ProcessEnv {
  const { temporal, kafka, redis } = stack();
  return {
    ...process.env,
    KEYMEND_STACK_TEMPORAL_ADDRESS: started.includes('temporal') ? '' : temporal.address,
    KEYMEND_STACK_TEMPORAL_UI: started.includes('temporal') ? '' : temporal.ui,
    KEYMEND_STACK_KAFKA_BROKERS: started.includes('kafka') ? '' : kafka.brokers.join(','),
    KEYMEND_STACK_REDIS_SOURCE: started.includes('redis-source') ? '' : redis.source,
    KEYMEND_STACK_REDIS_TARGET: started.includes('redis-target') ? '' : redis.target,
  };
}

/** An environment in which all services are the stack's own, whatever the run was given. */
export function startingAll(): NodeJS.ProcessEnv {
  return onlyStarting('temporal', 'kafka', 'redis-source', 'redis-target');
}

/** A machine that has nothing: no programs, no package manager, no cache. */
export function bare(environment: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { ...environment, PATH: '', JAVA_HOME: '', XDG_CACHE_HOME: scratchFolder() };
}

/**
 * The command lines of all processes that work in the directory or below. Linux tells; elsewhere
 * none are found.
 */
export function processesIn(directory: string): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const folder = readlinkSync(`/proc/${pid}/cwd`);
        const inside = folder === directory || folder.startsWith(directory + sep);
        return inside ? [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')}`] : [];
      } catch {
        return []; // It ended, or belongs to somebody else.
      }
    });
}

/**
 * Listens on a port until the end of the test.
 * @returns the port, also when somebody else listens there already
 */
export async function occupy(port: number): Promise<number> {
  const server = createServer();
  const listening = new Promise<number>((resolve) => {
    server.once('error', () => resolve(port));
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
  onTestFinished(() => {
    server.close();
  });
  return listening;
}

/** Makes a process pass for the bridge and worker that a demo left in the directory. */
export function recordKeymend(directory: string, pid: number, birth: string | undefined): void {
  mkdirSync(join(directory, 'keymend'), { recursive: true });
  writeFileSync(join(directory, 'keymend', 'pid'), `${pid}\n${birth}`);
}

/** A process that does nothing for long; ends with the test. */
export async function idleProcess(): Promise<{ readonly pid: number; end(): Promise<void> }> {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  await once(child, 'spawn');
  const exited = once(child, 'exit');
  const end = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(end);
  return { pid: child.pid as number, end };
}
