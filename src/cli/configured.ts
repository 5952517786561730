/** The configuration, and what a verb needs of it: a client of Temporal. */
import type { Client } from '@temporalio/client';
import { type Config, loadConfig } from '../config.js';
import { connectClient, type TemporalTarget, temporalTarget } from '../temporal/connect.js';
import { errorText, isTemporalError } from '../temporal/error-text.js';
import { type GlobalOptions, VerbError } from './context.js';

export interface Configured {
  readonly config: Config;
  readonly temporal: TemporalTarget;
}

export function readConfig(options: GlobalOptions): Configured {
  const config = loadConfig(options.config, process.env);
  return { config, temporal: temporalTarget(config, process.env) };
}

/**
 * Runs `work` with a client of Temporal and closes its connection whatever happens.
 * @param configured by whoever has read it before
 */
export async function withClient<T>(
  options: GlobalOptions,
  work: (client: Client, config: Config) => Promise<T>,
  { config, temporal }: Configured = readConfig(options),
): Promise<T> {
  const client = await connectClient(temporal);
  try {
    return await work(client, config);
  } catch (error) {
    if (!isTemporalError(error)) throw error;
    const { address, namespace } = temporal;
    throw new VerbError(`Temporal at ${address}, namespace ${namespace}: ${errorText(error)}`);
  } finally {
    await client.connection.close();
  }
}
