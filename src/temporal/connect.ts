/**
 * Connections to Temporal. Where to connect comes from @temporalio/envconfig (TEMPORAL_* variables
 * or a profile), and only where these are silent from `temporal:` in keymend.yaml.
 */
import { Client, Connection } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
// A type alone: to load the worker takes half a second, which no verb but its own is to wait for.
import type { NativeConnectionOptions } from '@temporalio/worker';
import type { Config } from '../config.js';
import { errorText } from './error-text.js';

/**
 * Temporal can't be used as configured. The message is one line: where, what is wrong, what to do.
 */
class TemporalError extends Error {
  override readonly name = 'TemporalError';
}

export interface TemporalTarget {
  readonly options: NativeConnectionOptions;
  readonly address: string;
  readonly namespace: string;
}

const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Says where Temporal is, without connecting.
 * @throws TemporalError when a profile or a file that it names is unusable
 */
export function temporalTarget(config: Config, environment: NodeJS.ProcessEnv): TemporalTarget {
  let loaded: ReturnType<typeof loadClientConnectConfig>;
  try {
    const defined = Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined);
    loaded = loadClientConnectConfig({ overrideEnvVars: Object.fromEntries(defined) });
  } catch (error) {
    throw new TemporalError(`Temporal: the TEMPORAL_* variables or the profile are not usable: ${errorText(error)}`, {
      cause: error,
    });
  }
  const address = loaded.connectionOptions.address ?? config.temporal.address ?? '127.0.0.1:7233';
  const namespace = loaded.namespace ?? config.temporal.namespace ?? 'default';
  return { options: { ...loaded.connectionOptions, address }, address, namespace };
}

/**
 * @throws TemporalError when it can't be reached or the namespace does not exist. The caller closes
 *   `client.connection`.
 */
export async function connectClient(target: TemporalTarget): Promise<Client> {
  let connection: Connection | undefined;
  try {
    connection = await Connection.connect({ ...target.options, connectTimeout: CONNECT_TIMEOUT_MS });
    await connection.workflowService.describeNamespace({ namespace: target.namespace });
    return new Client({ connection, namespace: target.namespace });
  } catch (error) {
    await connection?.close();
    throw unusable(target, error);
  }
}

/** What is said of a failure to use it. */
export function unusable({ address, namespace }: TemporalTarget, error: unknown): TemporalError {
  return new TemporalError(
    `Temporal at ${address}, namespace ${namespace}: ${errorText(error)}; is it running, and is TEMPORAL_ADDRESS or temporal.address right?`,
    { cause: error },
  );
}
