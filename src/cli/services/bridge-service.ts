/** The bridge, with the relay of outboxes to Kafka, on a connection of its own. */
import { startBridge } from '../../bridge/bridge.js';
import { intakeOf } from '../../bridge/intakes.js';
import { connectClient } from '../../temporal/connect.js';
import { createSearchAttributes } from '../../temporal/search-attributes.js';
import { packageVersion } from '../package-version.js';
import { asService, type Service, type ServiceOptions } from './service.js';

export async function bridgeService({ config, temporal, metrics, tracing, logger }: ServiceOptions): Promise<Service> {
  const intake = intakeOf(config);
  const version = packageVersion();
  const client = await connectClient(temporal);
  try {
    const problem = await createSearchAttributes(client.connection, temporal.namespace);
    if (problem !== null) logger.warn(problem);
    const bridge = await startBridge({ config, client: client.workflow, metrics, version, tracing, logger });
    const relay = await intake.startRelay(logger, bridge.gaps, metrics);
    logger.info({ ...intake.reads, temporal: temporal.address }, 'bridge is ready');
    const stop = async () => {
      await Promise.all([bridge.stop(), relay?.stop()]);
    };
    // A bridge that ended by itself takes the relay with it.
    // It has joined those that read.
    const isReady = () => true;
    return asService('bridge', { finished: bridge.finished, isReady, stop }, async () => {
      await relay?.stop();
      await client.connection.close();
    });
  } catch (error) {
    await client.connection.close();
    throw error;
  }
}
