/** The long-running parts, as the verbs `bridge`, `worker` and `start` run them. */
import { constants } from 'node:os';
import type { Logger } from 'pino';
import type { Config, HttpConfig } from '../../config.js';
import { type HttpServer, startHttp } from '../../telemetry/http.js';
import { Metrics } from '../../telemetry/metrics.js';
import { startTracing, type Tracing } from '../../telemetry/tracing.js';
import type { TemporalTarget } from '../../temporal/connect.js';
import { packageVersion } from '../package-version.js';

export interface Service {
  readonly name: string;
  readonly finished: Promise<void>;
  /** It does its work, or would if there were some: also while a server that it needs is away. */
  isReady(): boolean;
  stop(): Promise<void>;
}

export interface ServiceOptions {
  readonly config: Config;
  readonly temporal: TemporalTarget;
  readonly metrics: Metrics;
  readonly tracing: Tracing | undefined;
  readonly logger: Logger;
}

/** @param close what ends with the service, in whichever way that ends */
export function asService(name: string, running: Omit<Service, 'name'>, close: () => Promise<void>): Service {
  const finished = running.finished.finally(close);
  // Heard by `runServices`, which listens only once every service has started.
  finished.catch(() => {});
  return { name, finished, isReady: () => running.isReady(), stop: () => running.stop() };
}

/**
 * Below the 30 s after which Kubernetes kills; a service that hangs on a service of its own must
 * not cost that.
 */
const STOP_TIMEOUT_MS = 25_000;
/** Connections that end by themselves may, from when all has stopped. */
const HANGING_MS = 1_000;

type Start = (options: ServiceOptions) => Promise<Service>;

/**
 * Starts services in order and runs them until SIGINT or SIGTERM, also one that comes while they
 * start; then stops all. From the signal on the process is not ready, and it answers for itself
 * until the last service has stopped.
 * @throws Error of the service that ended by itself, after the others were stopped, so that the
 *   process ends with an error
 */
export async function runServices(
  given: Omit<ServiceOptions, 'metrics' | 'tracing'>,
  starts: readonly Start[],
): Promise<void> {
  const { config, logger } = given;
  const metrics = new Metrics();
  const tracing = await startTracing(config.tracing, { version: packageVersion(), logger });
  const services: Service[] = [];
  let phase: 'starting' | 'running' | 'stopping' = 'starting';
  const notReady = () =>
    phase === 'running' ? services.filter((service) => !service.isReady()).map(({ name }) => name) : [phase];
  const stopped = untilStopped();
  const http = await answering(config.http, { metrics, notReady, logger });

  const starting = (async () => {
    for (const start of starts) {
      if (phase === 'starting') services.push(await start({ ...given, metrics, tracing }));
    }
    if (phase === 'starting') phase = 'running';
  })();
  const ended = starting.then(() => Promise.race(services.map(endedByItself)));
  try {
    const signal = await Promise.race([stopped, ended]);
    logger.info({ signal }, 'stopping');
  } finally {
    phase = 'stopping';
    const overdue = setTimeout(() => {
      logger.error('not stopped in time; what was under way is taken up by whoever starts next');
      process.exit(1);
    }, STOP_TIMEOUT_MS);
    // What has begun to start can be stopped once it has.
    await starting.catch(() => {});
    const warn = (error: Error) => logger.warn(error.message);
    await Promise.all(services.map((service) => service.stop().catch(warn)));
    await Promise.all([http?.close(), tracing?.close()]);
    clearTimeout(overdue);
    // All that was to be done is done; what still hangs, such as a collector, holds nobody up.
    setTimeout(() => process.exit(), HANGING_MS).unref();
  }
}

/** @returns null where the configuration has it off */
async function answering(
  config: HttpConfig | undefined,
  { metrics, ...options }: { metrics: Metrics } & Pick<Parameters<typeof startHttp>[0], 'notReady' | 'logger'>,
): Promise<HttpServer | null> {
  if (config === undefined) return null;
  metrics.ofProcess(packageVersion());
  return startHttp({ config, metrics, ...options });
}

async function endedByItself({ name, finished }: Service): Promise<never> {
  await finished;
  throw new Error(`the ${name} ended by itself`);
}

/**
 * Waits for SIGINT or SIGTERM. The second of them ends the process at once, also where it is the
 * first one of its container, for which signals do nothing by themselves.
 */
function untilStopped(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let isFirst = true;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (!isFirst) process.exit(128 + constants.signals[signal]);
        isFirst = false;
        resolve(signal);
      });
    }
  });
}
