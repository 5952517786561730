/** `keymend escalations` */
import { Command } from 'commander';
import { examples, globalOptions } from './options.js';

export function escalationsCommand(): Command {
  return new Command('escalations')
    .description('List the keys that were given up on for now: why, since when, and what to do')
    .option('-l, --link <name>', 'only those of one link')
    .addHelpText(
      'after',
      examples('npx keymend escalations', 'npx keymend escalations --link east-to-west --output json'),
    )
    .action(async (options: { link?: string }, command: Command) => {
      await (await import('../verbs/escalations.js')).escalations(options, globalOptions(command));
    });
}
