/** The long-running parts as the verbs `bridge`, `worker` and `start` run them. */
import { Runtime } from '@temporalio/worker';
import type { Logger } from 'pino';
import { startBridge } from '../bridge/bridge.js';
import type { Config } from '../config.js';
import { connectDeadLetters, createKafka } from '../events/kafka.js';
import { checkKafka } from '../events/kafka-check.js';
import { connectClient, connectWorker, ensureSearchAttributes, type TemporalTarget } from '../temporal/connect.js';
import { runtimeLogger } from '../worker/runtime-logger.js';
import { startWorker } from '../worker/worker.js';
import { untilStopped } from './context.js';

export interface Service {
  readonly name: string;
  readonly finished: Promise<void>;
  stop(): Promise<void>;
}

export interface ServiceOptions {
  readonly config: Config;
  readonly temporal: TemporalTarget;
  readonly logger: Logger;
}

export async function bridgeService({ config, temporal, logger }: ServiceOptions): Promise<Service> {
  const client = await connectClient(temporal);
  try {
    await ensureSearchAttributes(client, temporal.namespace);
    const bridge = await startBridge({ config, client: client.workflow, logger });
    logger.info(
      { topic: config.kafka.topic, groupId: config.kafka.groupId, temporal: temporal.address },
      'bridge is ready',
    );
    return { name: 'bridge', finished: bridge.finished.finally(() => client.connection.close()), stop: bridge.stop };
  } catch (error) {
    await client.connection.close();
    throw error;
  }
}

/** Installs the process-wide Temporal runtime, so only one call for each process. */
export async function workerService({ config, temporal, logger }: ServiceOptions): Promise<Service> {
  // The signals are ours: the worker stops together with whatever else the process runs.
  Runtime.install({ logger: runtimeLogger(logger), shutdownSignals: [] });
  const client = await connectClient(temporal);
  await ensureSearchAttributes(client, temporal.namespace).finally(() => client.connection.close());
  await checkKafka(config.kafka, logger);
  const connection = await connectWorker(temporal);
  const kafka = createKafka(config.kafka, logger);
  const deadLetters = await connectDeadLetters(kafka, config.kafka.deadLetterTopic);
  const close = async () => {
    await deadLetters.close();
    await connection.close();
  };
  try {
    const worker = await startWorker({ config, connection, namespace: temporal.namespace, deadLetters, logger });
    logger.info({ taskQueue: config.temporal.taskQueue, temporal: temporal.address }, 'worker is ready');
    return { name: 'worker', finished: worker.finished.finally(close), stop: worker.stop };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Starts services in order and runs them until SIGINT or SIGTERM; then stops all.
 * @throws Error of the service that ended by itself, after the others were stopped, so that the process ends with an error
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
    for (const promise of ended) promise.catch(() => {}); // From here on an end is what we asked for.
  } finally {
    await Promise.all(
      services.map((service) => service.stop().catch((error: Error) => options.logger.warn(error.message))),
    );
  }
}
