/** The options of verbs that are for one key or for many. */
import type { Command } from 'commander';
import { type Filters, withFilters } from './filters.js';
import type { KeyOptions } from './options.js';

export interface BulkFlags extends KeyOptions, Filters {
  readonly escalated?: true;
  readonly query?: string;
  readonly file?: string;
  readonly rate?: string;
  readonly dryRun?: true;
  readonly yes?: true;
  readonly wait?: string;
}

/** Adds them. */
export function withBulkOptions(command: Command): Command {
  return withFilters(command.option('--escalated', 'every escalated key (of --link, when given)'))
    .option('--query <query>', 'every key under way that this query of Temporal finds, for example \'StartTime < "…"\'')
    .option('--file <file>', 'the keys in a file, one a line, written as --encoding says; - reads them from stdin')
    .option('--rate <keys>', 'at most so many keys a second')
    .option('--dry-run', 'say which keys are meant, and tell them nothing')
    .option('--yes', 'do not ask before many keys are told')
    .option('--wait <time>', 'wait so long for what becomes of them (default: 1m; with JSON not at all)');
}
