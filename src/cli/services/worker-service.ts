/** A worker with what it stands on: the runtime of the SDK, connections, dead letters. */
import { makeTelemetryFilterString, Runtime } from '@temporalio/worker';
import { intakeOf } from '../../bridge/intakes.js';
import type { Config } from '../../config.js';
import { connectClient } from '../../temporal/connect.js';
import { createSearchAttributes, UsableAttributes } from '../../temporal/search-attributes.js';
import { connectWorker } from '../../worker/connect.js';
import type { Deployment } from '../../worker/deployment.js';
import { runtimeLogger } from '../../worker/runtime-logger.js';
import { sdkMetrics } from '../../worker/sdk-metrics.js';
import { TemporalWatch } from '../../worker/temporal-watch.js';
import { startWorker } from '../../worker/worker.js';
import { packageVersion } from '../package-version.js';
import { asService, type Service, type ServiceOptions } from './service.js';

/** Installs the process-wide Temporal runtime, so only one call for each process. */
export async function workerService(options: ServiceOptions): Promise<Service> {
  const watch = new TemporalWatch(options.temporal.address, options.logger);
  const sdk = options.config.http === undefined ? undefined : await sdkMetrics();
  Runtime.install({
    logger: runtimeLogger(options.logger, () => watch.failed()),
    // The signals are ours: the worker stops together with whatever else the process runs.
    shutdownSignals: [],
    // Else the core of the SDK writes its own lines to stdout.
    telemetryOptions: {
      logging: { filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }), forward: {} },
      ...(sdk && { metrics: sdk.options }),
    },
  });
  if (sdk !== undefined) options.metrics.alsoTell(sdk.text);
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

async function connectedWorker(options: ServiceOptions, watch: TemporalWatch): Promise<Service> {
  const { config, temporal, metrics, tracing, logger } = options;
  const client = await connectClient(temporal);
  const { namespace } = temporal;
  const problem = await createSearchAttributes(client.connection, namespace).finally(() => client.connection.close());
  if (problem !== null) logger.warn(problem);
  const intake = intakeOf(config);
  await intake.check(logger, ['worker']);
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
    const worker = await startWorker({
      config,
      connection,
      namespace,
      version: packageVersion(),
      codec: temporal.codec,
      deployment: deploymentOf(config),
      deadLetters,
      usableAttributes,
      metrics,
      tracing,
      logger,
    });
    logger.info({ taskQueue: config.temporal.taskQueue, temporal: temporal.address }, 'worker is ready');
    return asService('worker', worker, close);
  } catch (error) {
    await close();
    throw error;
  }
}

function deploymentOf({ temporal }: Config): Deployment | null {
  const { deployment } = temporal;
  return deployment === undefined ? null : { ...deployment, buildId: deployment.buildId ?? packageVersion() };
}
