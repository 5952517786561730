/** Bringing one service up, or finding it up, in its folder of the data directory. */
import { join } from 'node:path';
import { StackError } from './errors.js';
import { readIfPresent } from './processes/files.js';
import { freePort, isFree, type Ports, USUAL_PORTS } from './processes/ports.js';
import { launch, logOf, processOf, terminate } from './processes/process.js';
import { untilReady } from './processes/wait.js';
import { type Report, withProgress } from './progress.js';
import type { Prepare, Service } from './service.js';

/**
 * Only a net: Kafka recovers its log and Redis loads its data before they answer, and on a busy
 * machine the start of Kafka's JVM alone may take a minute. One that ends is noticed at once.
 */
const READY_WITHIN_MS = 180_000;
/** A free port may be gone when the service takes it; then others are chosen. */
const MAXIMUM_ATTEMPTS = 3;
/** How each service says so, also of a port that somebody had for a moment only. */
const TAKEN = /address already in use/i;
export const STOP_GRACE_MS = 15_000;

export type PreferredPorts = 'usual' | 'free';

export interface StartOptions {
  readonly directory: string;
  readonly report: Report;
  readonly preferredPorts: PreferredPorts;
  /** The ports it had before, as far as known. */
  readonly ports: Ports;
  /** Called before each start, so that the ports are known wherever this is killed. */
  readonly remember: (ports: Ports) => void;
  /** Aborted when nothing more is to be started; what has been goes on. */
  readonly signal?: AbortSignal | undefined;
}

export function folderOf(directory: string, service: Service): string {
  return join(directory, service.name);
}

/**
 * Waits for a service whose process runs.
 * @returns whether it answers, or has ended after all
 * @throws StackError when it goes on running and does not answer
 */
export async function awaitRunning(service: Service, options: StartOptions): Promise<'ready' | 'ended'> {
  const folder = folderOf(options.directory, service);
  const readiness = await untilReady(
    () => service.answers(options.ports),
    READY_WITHIN_MS,
    () => lives(folder),
    options.signal,
  );
  if (readiness.kind !== 'silent') return readiness.kind;
  throw new StackError(
    `${service.title} runs but does not answer (${readiness.reason}); look into ${logOf(folder)}, ` +
      'or run `keymend stack down` and `keymend stack up`',
  );
}

/**
 * Starts a service that does not run and waits until it answers.
 * @returns the ports it has now
 * @throws StackError when it ends or stays silent, with the last line of its log
 */
export function start(service: Service, prepare: Prepare, options: StartOptions): Promise<Ports> {
  return withProgress(options.report, `${service.title}: starting`, () => startNow(service, prepare, options));
}

async function startNow(service: Service, prepare: Prepare, options: StartOptions): Promise<Ports> {
  const folder = folderOf(options.directory, service);
  let ports = options.ports;
  for (let attempt = 1; ; attempt++) {
    ports = await choosePorts(service, ports, options.preferredPorts);
    options.remember(ports);
    const program = await prepare(folder, ports);
    options.signal?.throwIfAborted();
    await launch({ folder, ...program });
    const readiness = await untilReady(
      () => service.answers(ports),
      READY_WITHIN_MS,
      () => lives(folder),
      options.signal,
    );
    if (readiness.kind === 'ready') {
      const port = ports[service.ports[0]];
      const usual = USUAL_PORTS[service.ports[0]];
      const instead = options.preferredPorts === 'usual' && port !== usual ? ` instead of ${usual}` : '';
      options.report(`${service.title}: up on port ${port}${instead}`);
      return ports;
    }
    await terminate(folder, STOP_GRACE_MS);
    const taken = (await anyTaken(service, ports)) || TAKEN.test(readIfPresent(logOf(folder)) ?? '');
    if (!taken || attempt === MAXIMUM_ATTEMPTS) {
      const what = readiness.kind === 'silent' ? `does not answer (${readiness.reason})` : 'ended at once';
      throw new StackError(`${service.title} ${what}: ${lastLine(logOf(folder))}; see ${logOf(folder)}`);
    }
    options.report(`${service.title}: its port was taken meanwhile, trying another`);
  }
}

function lives(folder: string): boolean {
  return processOf(folder) !== undefined;
}

async function choosePorts(service: Service, known: Ports, preferred: PreferredPorts): Promise<Ports> {
  const chosen: Ports = {};
  for (const name of service.ports) {
    const wanted = known[name] ?? (preferred === 'usual' ? USUAL_PORTS[name] : undefined);
    const others = Object.values(chosen);
    const isUsable = wanted !== undefined && !others.includes(wanted) && (await isFree(wanted));
    chosen[name] = isUsable ? wanted : await freePort(others);
  }
  return chosen;
}

async function anyTaken(service: Service, ports: Ports): Promise<boolean> {
  for (const name of service.ports) {
    const port = ports[name];
    if (port !== undefined && !(await isFree(port))) return true;
  }
  return false;
}

function lastLine(log: string): string {
  return (readIfPresent(log) ?? '').trimEnd().split('\n').at(-1)?.trim() || 'it said nothing';
}
