/** What `keymend status` says of the distinct keys of a link whose writes failed. */
import type { LinkConfig } from '../../config.js';
import { countFailingKeys, type FailingKeyCounts } from '../../failing-keys/counts.js';
import { countsFailingKeys } from '../../failing-keys/names.js';
import { counted } from '../../plural.js';

/** null: unknown, see `problem`. Counts are about right. */
export type FailingKeysReport =
  | (FailingKeyCounts & { readonly problem: null })
  | { readonly thisHour: null; readonly lastDay: null; readonly hours: null; readonly problem: string };

/** @param commandTimeoutMs how long the source is waited for */
export async function failingKeysReport(link: LinkConfig, commandTimeoutMs: number): Promise<FailingKeysReport> {
  if (!countsFailingKeys(link)) return unknown('they are counted on a Redis, and its source is a database');
  try {
    return { ...(await countFailingKeys(link, { commandTimeoutMs })), problem: null };
  } catch (error) {
    return unknown((error as Error).message);
  }
}

function unknown(problem: string): FailingKeysReport {
  return { thisHour: null, lastDay: null, hours: null, problem };
}

/** Lines for a person. */
export function describeFailingKeys(report: FailingKeysReport): string[] {
  if (report.problem !== null) return [`how many keys failed is not known: ${report.problem}`];
  const { thisHour, lastDay } = report;
  return [`writes of about ${counted(thisHour, 'key')} failed in this hour, of ${lastDay} in the last 24 hours`];
}
