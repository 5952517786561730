/** `keymend retry KEY` and `keymend retry --escalated` */
import { Command } from 'commander';
import { examples, globalOptions, type KeyOptions, withKeyOptions } from './options.js';

export function retryCommand(): Command {
  return withKeyOptions(new Command('retry'))
    .description('Try again now: one key, or every escalated key')
    .argument('[key]', 'the Redis key')
    .option('--escalated', 'every escalated key (of --link, when given)')
    .addHelpText('after', examples('npx keymend retry user:42', 'npx keymend retry --escalated --link east-to-west'))
    .action(async (key: string | undefined, options: KeyOptions & { escalated?: true }, command: Command) => {
      await (await import('../verbs/retry.js')).retryKeys(key, options, globalOptions(command));
    });
}
