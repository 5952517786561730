/** The options that narrow escalated keys down. */
import type { Command } from 'commander';

export interface Filters {
  readonly link?: string;
  readonly error?: string;
  readonly prefix?: string;
  readonly olderThan?: string;
}

/** Adds them, but for `--link`, which verbs have already. */
export function withFilters(command: Command): Command {
  return command
    .option('--error <type>', 'only those of one error type, for example TargetReadOnly')
    .option('--prefix <text>', 'only keys that begin so, of those that can be read in the ID of their workflow')
    .option('--older-than <time>', 'only those whose workflow began so long ago, for example 30m, 2h or 1d');
}

export function isFiltered({ error, prefix, olderThan }: Filters): boolean {
  return error !== undefined || prefix !== undefined || olderThan !== undefined;
}
