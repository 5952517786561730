/** The worker's connection to Temporal. */
import { NativeConnection } from '@temporalio/worker';
import { type TemporalTarget, unusable } from '../temporal/connect.js';

/** @throws TemporalError. The caller closes it after the worker that uses it has ended. */
export async function connectWorker(target: TemporalTarget): Promise<NativeConnection> {
  try {
    return await NativeConnection.connect(target.options);
  } catch (error) {
    throw unusable(target, error);
  }
}
