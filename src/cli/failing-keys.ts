/** What `keymend status` says of the distinct keys of a link whose writes failed. */
import type { LinkConfig } from '../config.js';
import { countFailingKeys, type FailingKeyCounts } from '../failing-keys/counts.js';
import { counted } from '../plural.js';

/** null: unknown, see `problem`. Counts are about right. */
export type FailingKeysReport =
  | (FailingKeyCounts & { readonly problem: null })
  | { readonly thisHour: null; readonly lastDay: null; readonly hours: null; readonly problem: string };

/** @param commandTimeoutMs how long the source is waited for */
export async function failingKeysReport(link: LinkConfig, commandTimeoutMs: number): Promise<FailingKeysReport> {
  try {
    return { ...(await countFailingKeys(link, { commandTimeoutMs })), problem: null };
  } catch (error) {
    return { thisHour: null, lastDay: null, hours: null, problem: (error as Error).message };
  }
}

/** Lines for a person. */
export function describeFailingKeys(report: FailingKeysReport): string[] {
  if (report.problem !== null) return [`how many keys failed is not known: ${report.problem}`];
  const { thisHour, lastDay } = report;
  return [`writes of about ${counted(thisHour, 'key')} failed in this hour, of ${lastDay} in the last 24 hours`];
}
