/** One question to Temporal of many: one that can't be had holds up none of the others. */
import type { Client } from '@temporalio/client';
import { errorText } from '../temporal/error-text.js';

/** @returns an Error in one line where there is no answer in time */
export async function askTemporal<T>(
  client: Client | Error,
  timeoutMs: number,
  question: (client: Client) => Promise<T>,
): Promise<T | Error> {
  if (client instanceof Error) return client;
  try {
    return await client.withDeadline(Date.now() + timeoutMs, () => question(client));
  } catch (error) {
    return new Error(errorText(error));
  }
}
