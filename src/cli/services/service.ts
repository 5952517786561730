/** The long-running parts, as the verbs `bridge`, `worker` and `start` run them. */
import type { Logger } from 'pino';
import type { Config } from '../../config.js';
import type { TemporalTarget } from '../../temporal/connect.js';
import { untilStopped } from '../context.js';

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

/** @param close what ends with the service, in whichever way that ends */
export function asService(
  name: string,
  running: Pick<Service, 'finished' | 'stop'>,
  close: () => Promise<void>,
): Service {
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
