/** `keymend retry`: one key, or many. */
import { Command } from 'commander';
import { type BulkFlags, withBulkOptions } from './bulk.js';
import { examples, globalOptions, withKeyOptions } from './options.js';

export function retryCommand(): Command {
  return withBulkOptions(withKeyOptions(new Command('retry')))
    .description('Try again now: one key, or every escalated key')
    .argument('[key]', 'the Redis key')
    .addHelpText(
      'after',
      examples(
        'npx keymend retry user:42',
        'npx keymend retry --escalated --link east-to-west',
        'npx keymend retry --escalated --error NoPermission --prefix user: --rate 50 --yes',
      ),
    )
    .action(async (key: string | undefined, flags: BulkFlags, command: Command) => {
      await (await import('../verbs/retry.js')).retryKeys(key, flags, globalOptions(command));
    });
}
