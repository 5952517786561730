/** The long-running parts as the verbs `bridge`, `worker` and `start` run them. */
import { makeTelemetryFilterString, Runtime } from '@temporalio/worker';
import type { Logger } from 'pino';
import { startBridge } from '../bridge/bridge.js';
import { intakeOf } from '../bridge/intakes.js';
import type { Config } from '../config.js';
import { connectClient, connectWorker, type TemporalTarget } from '../temporal/connect.js';
import { createSearchAttributes, UsableAttributes } from '../temporal/search-attributes.js';
import { runtimeLogger } from '../worker/runtime-logger.js';
import { TemporalWatch } from '../worker/temporal-watch.js';
import { startWorker } from '../worker/worker.js';
import { untilStopped } from './context.js';

interface Service {
  readonly name: string;
  readonly finished: Promise<void>;
  stop(): Promise<void>;
}

interface ServiceOptions {
  readonly config: Config;
  readonly temporal: TemporalTarget;
  readonly logger: Logger;
}

export async function bridgeService({ config, temporal, logger }: ServiceOptions): Promise<Service> {
  const intake = intakeOf(config);
  const client = await connectClient(temporal);
  try {
    const problem = await createSearchAttributes(client.connection, temporal.namespace);
    if (problem !== null) logger.warn(problem);
    const bridge = await startBridge({ config, client: client.workflow, logger });
    const relay = intake.startRelay(logger);
    logger.info({ ...intake.reads, temporal: temporal.address }, 'bridge is ready');
    const stop = async () => {
      await Promise.all([bridge.stop(), relay?.stop()]);
    };
    // A bridge that ended by itself takes the relay with it.
    return asService('bridge', { finished: bridge.finished, stop }, async () => {
      await Promise.all([relay?.stop(), client.connection.close()]);
    });
  } catch (error) {
    await client.connection.close();
    throw error;
  }
}

/** Installs the process-wide Temporal runtime, so only one call for each process. */
export async function workerService(options: ServiceOptions): Promise<Service> {
  const watch = new TemporalWatch(options.temporal.address, options.logger);
  Runtime.install({
    logger: runtimeLogger(options.logger, () => watch.failed()),
    // The signals are ours: the worker stops together with whatever else the process runs.
    shutdownSignals: [],
    // Else the core of the SDK writes its own lines to stdout.
    telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }), forward: {} } },
  });
  // A runtime that was installed keeps the process alive until it is shut down.
  const shutDown = () => Runtime.instance().shutdown();
  try {
    const service = await connectedWorker(options, watch);
    return asService('worker', service, shutDown);
  } catch (error) {
    await shutDown();
    throw error;
  }
}

async function connectedWorker({ config, temporal, logger }: ServiceOptions, watch: TemporalWatch): Promise<Service> {
  const client = await connectClient(temporal);
  const { namespace } = temporal;
  const problem = await createSearchAttributes(client.connection, namespace).finally(() => client.connection.close());
  if (problem !== null) logger.warn(problem);
  const intake = intakeOf(config);
  await intake.check(logger);
  const connection = await connectWorker(temporal);
  const deadLetters = await intake.connectDeadLetters(logger);
  watch.over(connection);
  const close = async () => {
    watch.close();
    await deadLetters.close();
    await connection.close();
  };
  try {
    const attributes = new UsableAttributes(connection, namespace, problem, (now) =>
      logger[now === null ? 'info' : 'warn'](now ?? 'over: all search attributes can be written'),
    );
    const usableAttributes = () => attributes.get();
    const worker = await startWorker({ config, connection, namespace, deadLetters, usableAttributes, logger });
    logger.info({ taskQueue: config.temporal.taskQueue, temporal: temporal.address }, 'worker is ready');
    return asService('worker', worker, close);
  } catch (error) {
    await close();
    throw error;
  }
}

function asService(name: string, running: Pick<Service, 'finished' | 'stop'>, close: () => Promise<void>): Service {
  const finished = running.finished.finally(close);
  // Heard by `runServices`, which listens only once every service has started.
  finished.catch(() => {});
  return { name, finished, stop: () => running.stop() };
}

/**
 * Below the 30 s after which Kubernetes kills; a service that hangs on a service of its own must
 * not cost that.
 */
const STOP_TIMEOUT_MS = 25_000;

/**
 * Starts services in order and runs them until SIGINT or SIGTERM; then stops all.
 * @throws Error of the service that ended by itself, after the others were stopped, so that the
 *   process ends with an error
 */
export async function runServices(
  options: ServiceOptions,
  factories: readonly ((options: ServiceOptions) => Promise<Service>)[],
): Promise<void> {
  const services: Service[] = [];
  const stopped = untilStopped();
  try {
    for (const factory of factories) services.push(await factory(options));
    const ended = services.map(({ name, finished }) =>
      finished.then(() => {
        throw new Error(`the ${name} ended by itself`);
      }),
    );
    const signal = await Promise.race([stopped, ...ended]);
    options.logger.info({ signal }, 'stopping');
  } finally {
    const overdue = setTimeout(() => {
      options.logger.error('not stopped in time; what was under way is taken up by whoever starts next');
      process.exit(1);
    }, STOP_TIMEOUT_MS);
    const warn = (error: Error) => options.logger.warn(error.message);
    await Promise.all(services.map((service) => service.stop().catch(warn)));
    clearTimeout(overdue);
  }
}
