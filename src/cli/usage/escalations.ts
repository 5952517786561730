/** `keymend escalations` */
import { Command } from 'commander';
import type { EscalationsFlags } from '../verbs/escalations.js';
import { withFilters } from './filters.js';
import { examples, globalOptions } from './options.js';

export function escalationsCommand(): Command {
  const command = new Command('escalations')
    .description(
      'Show the keys that were given up on for now: why, since when, and what to do. In groups by error and link, with what ' +
        'their keys begin with, how many, and the next command for all and for each beginning; a few keys also one by one. ' +
        'As JSON each key, unless --groups is given',
    )
    .option('-l, --link <name>', 'only those of one link');
  return withFilters(command)
    .option('--list', 'each key instead of groups')
    .option('--groups', 'groups alone, also as JSON, all of them counted, however long that takes')
    .addHelpText(
      'after',
      examples(
        'npx keymend escalations',
        'npx keymend escalations --error NoPermission --prefix user: --list',
        'npx keymend escalations --link east-to-west --output json',
      ),
    )
    .action(async (flags: EscalationsFlags, command: Command) => {
      await (await import('../verbs/escalations.js')).escalations(flags, globalOptions(command));
    });
}
