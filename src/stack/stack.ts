/** The local services as a whole: up, down, status. */
import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { configFile, writeConfigFile } from './config-file.js';
import { type GivenAddresses, givenAddresses } from './environment.js';
import { StackError } from './errors.js';
import { awaitGiven, givenService } from './given.js';
import { kafkaService } from './kafka.js';
import { mariadbService, mariadbUrl } from './mariadb.js';
import { findKeymend, KEYMEND, KEYMEND_TITLE, stopKeymend } from './processes/keymend-process.js';
import { holderOf, withLock } from './processes/lock.js';
import { HOST, type Ports } from './processes/ports.js';
import { processOf, terminate } from './processes/process.js';
import { untilReady } from './processes/wait.js';
import type { Provision } from './programs/provision.js';
import type { Report } from './progress.js';
import { redisSourceService, redisTargetService } from './redis.js';
import { type Prepare, portOf, type Service, type ServiceName } from './service.js';
import { awaitRunning, folderOf, type PreferredPorts, STOP_GRACE_MS, type StartOptions, start } from './start.js';
import { readState, stateFile, writeState } from './state.js';
import { temporalService } from './temporal.js';

const SERVICES: readonly Service[] = [temporalService, kafkaService, redisSourceService, redisTargetService];
/** With those that are only there when asked for. */
const ALL_SERVICES: readonly Service[] = [...SERVICES, mariadbService];

const STATUS_ANSWERS_WITHIN_MS = 1_000;

/** Where everything is. */
export interface StackInfo {
  readonly temporal: { readonly address: string; readonly ui: string };
  readonly kafka: { readonly brokers: string[] };
  /** URLs. */
  readonly redis: { readonly source: string; readonly target: string };
  /** Of the database `shop`, where it was asked for. */
  readonly mysql?: string;
  /** Absolute path of a ready `keymend.yaml`. */
  readonly config: string;
}

interface StackOptions {
  /**
   * Where data, logs and state of the services are kept, for example `.keymend`. Created when
   * missing.
   */
  readonly directory: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Takes progress for a person, line by line. */
  readonly report: Report;
  /**
   * `usual` (default): 7233, 8233, 9092, 6379, 6380 and 3306, a free one where busy. `free`: always
   * free ones.
   */
  readonly preferredPorts?: PreferredPorts;
  /** Also a MariaDB, for links whose source is a database. */
  readonly mysql?: boolean;
  /**
   * Aborting it ends {@link stackUp} early, which then rejects with its reason. What runs by then
   * goes on.
   */
  readonly signal?: AbortSignal;
}

export interface ServiceStatus {
  readonly service: ServiceName | typeof KEYMEND;
  /** `external`: an address was given by the environment, and the stack has no hand in it. */
  readonly state: 'running' | 'stopped' | 'external';
  /** host:port, or a URL without its password. */
  readonly address?: string;
  readonly pid?: number;
  /** Whether it answers now; of bridge and worker, whether they have come up. */
  readonly answers: boolean;
}

/**
 * Sees to it that all services run and answer: leaves those that do, starts those that don't with
 * the data they had. Can be killed and repeated at any moment; two at once take turns.
 * @throws StackError
 */
export async function stackUp(options: StackOptions): Promise<StackInfo> {
  const directory = resolve(options.directory);
  const given = givenAddresses(options.environment);
  makeDirectory(directory);
  return locked(directory, options, async () => {
    const wanted = options.mysql ? ALL_SERVICES : SERVICES;
    const ours = wanted.filter(({ name }) => givenService(given, name) === undefined);
    await settleAll(SERVICES.flatMap(({ name }) => givenService(given, name) ?? []).map(awaitGiven));
    let ports = readState(directory).ports;
    const remember = (chosen: Ports) => {
      ports = { ...ports, ...chosen };
      writeState(directory, { ports });
    };
    // With the ports forgotten, a service can't be found again.
    const lost = ours.filter((service) => service.ports.some((name) => ports[name] === undefined));
    await settleAll(lost.map((service) => terminate(folderOf(directory, service), STOP_GRACE_MS)));
    const startOptions = (): StartOptions => ({
      directory,
      report: options.report,
      preferredPorts: options.preferredPorts ?? 'usual',
      ports,
      remember,
      signal: options.signal,
    });
    const stopped = (await settleAll(ours.map((service) => unlessUp(service, startOptions())))).flat();
    if (stopped.length === 0 && ours.length > 0) options.report('all services run already');
    const prepares = await provideAll(stopped, options);
    await settleAll(prepares.map(([service, prepare]) => start(service, prepare, startOptions())));
    const info = infoOf(directory, given, ports);
    return options.mysql ? { ...info, mysql: mariadbUrl(portOf(ports, 'mysql')) } : info;
  });
}

/**
 * Stops what {@link stackUp} started in this directory, and bridge and worker of a demo there;
 * nothing else. The data stays.
 * @returns what ran until then
 * @throws StackError while another process runs a demo there, which would start them again
 */
export async function stackDown(
  options: Pick<StackOptions, 'directory' | 'report'>,
): Promise<{ readonly stopped: (ServiceName | typeof KEYMEND)[] }> {
  const directory = resolve(options.directory);
  if (!existsSync(directory)) return { stopped: [] };
  const told = <T extends string>(name: T, title: string, outcome: Awaited<ReturnType<typeof terminate>>): T[] => {
    if (outcome === 'was not running') return [];
    options.report(`${title}: ${outcome === 'ended' ? 'stopped' : 'killed, it did not stop when asked'}`);
    return [name];
  };
  return locked(directory, options, async () => {
    // A demo that begins after this look starts nothing before we are done.
    const demo = holderOf(demoLock(directory));
    // A demo's own call comes when it starts nothing more.
    if (demo !== undefined && demo !== process.pid) {
      throw new StackError(
        `process ${demo} is running a demo in ${directory}; interrupt that one (Ctrl-C), which stops everything, or wait until it ends`,
      );
    }
    // First of all, while the services that it says goodbye to are there.
    const keymend = told(KEYMEND, KEYMEND_TITLE, await stopKeymend(directory));
    const outcomes = await Promise.all(
      ALL_SERVICES.map(async (service) =>
        told(service.name, service.title, await terminate(folderOf(directory, service), STOP_GRACE_MS)),
      ),
    );
    return { stopped: [...outcomes.flat(), ...keymend] };
  });
}

/** @returns the folder of the lock that whoever runs a demo in this directory holds */
export function demoLock(directory: string): string {
  return join(directory, 'lock');
}

/**
 * @returns what runs in this directory, as a person calls it: services that the stack started,
 *   bridge and worker of a demo
 */
export function whatRuns(directory: string): string[] {
  const services = ALL_SERVICES.filter((service) => processOf(folderOf(resolve(directory), service)) !== undefined);
  return [...services.map(({ title }) => title), ...(findKeymend(resolve(directory)) ? [KEYMEND_TITLE] : [])];
}

/**
 * @returns whether {@link stackUp} ever got as far as to start something in this directory, or to
 *   find all of it given
 */
export function wasStarted(directory: string): boolean {
  return existsSync(stateFile(directory)) || existsSync(configFile(directory));
}

/**
 * Changes nothing.
 * @returns every service, in a fixed order; then bridge and worker of a demo, if they run
 */
export async function stackStatus(options: Pick<StackOptions, 'directory' | 'environment'>): Promise<ServiceStatus[]> {
  const directory = resolve(options.directory);
  const given = givenAddresses(options.environment);
  const { ports } = readState(directory);
  const answering = async (answers: () => Promise<void>) =>
    (await untilReady(answers, STATUS_ANSWERS_WITHIN_MS)).kind === 'ready';
  const known = ports.mysql === undefined ? SERVICES : ALL_SERVICES;
  const services = await Promise.all(
    known.map(async (service): Promise<ServiceStatus> => {
      const external = givenService(given, service.name);
      if (external) {
        const { address, answers } = external;
        return { service: service.name, state: 'external', address, answers: await answering(answers) };
      }
      const found = processOf(folderOf(directory, service));
      if (found === undefined) return { service: service.name, state: 'stopped', answers: false };
      const address = `${HOST}:${portOf(ports, service.ports[0])}`;
      const answers = await answering(() => service.answers(ports));
      return { service: service.name, state: 'running', address, pid: found.pid, answers };
    }),
  );
  const keymend = findKeymend(directory);
  if (keymend === undefined) return services;
  return [...services, { service: KEYMEND, state: 'running', pid: keymend.pid, answers: keymend.isReady }];
}

/**
 * @returns the service if it is to be started: it does not run, or has just been killed and is not
 *   gone yet
 */
async function unlessUp(service: Service, options: StartOptions): Promise<[] | [Service]> {
  if (processOf(folderOf(options.directory, service)) === undefined) return [service];
  return (await awaitRunning(service, options)) === 'ready' ? [] : [service];
}

/**
 * Provides what the services need, all at once: the long way of one (a build) and of another (a
 * fetch) use different things. The first that can't be had ends the others, so that nobody waits
 * minutes to hear of it.
 */
async function provideAll(services: readonly Service[], options: StackOptions): Promise<[Service, Prepare][]> {
  const aborter = new AbortController();
  const signal = AbortSignal.any([aborter.signal, ...(options.signal ? [options.signal] : [])]);
  const provision: Provision = { environment: options.environment, report: options.report, signal };
  return settleAll(
    services.map(async (service): Promise<[Service, Prepare]> => {
      try {
        return [service, await service.provide(provision)];
      } catch (error) {
        aborter.abort(error);
        throw error;
      }
    }),
  );
}

/**
 * Like `Promise.all`, but rejects, with the first reason, only when nothing goes on behind the
 * caller's back any more.
 */
async function settleAll<T>(promises: readonly Promise<T>[]): Promise<Awaited<T>[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

function infoOf(directory: string, given: GivenAddresses, ports: Ports): StackInfo {
  const at = (name: keyof Ports) => `${HOST}:${portOf(ports, name)}`;
  const temporal = given.temporal ?? { address: at('temporal'), ui: `http://${at('temporalUi')}` };
  const brokers = [...(given.kafka?.brokers ?? [at('kafka')])];
  const source = given.redisSource ?? `redis://${at('redisSource')}`;
  const target = given.redisTarget ?? `redis://${at('redisTarget')}`;
  const config = writeConfigFile(directory, { temporal: temporal.address, brokers, source, target });
  return { temporal, kafka: { brokers }, redis: { source, target }, config };
}

/** @throws StackError when there can't be such a directory */
export function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StackError(`${directory} can't be created (${code}); run from a folder you can write to`, {
      cause: error,
    });
  }
}

function locked<T>(
  directory: string,
  { report, signal }: Pick<StackOptions, 'report' | 'signal'>,
  task: () => Promise<T>,
): Promise<T> {
  const onWait = (pid: number) =>
    report(`process ${pid} is starting or stopping the services of ${directory}, waiting`);
  return withLock({ folder: directory, onWait, signal }, task);
}
