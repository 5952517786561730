/** `keymend skip`: one key, or many. */
import { Command } from 'commander';
import { type BulkFlags, withBulkOptions } from './bulk.js';
import { examples, globalOptions, withKeyOptions } from './options.js';

export function skipCommand(): Command {
  return withBulkOptions(withKeyOptions(new Command('skip')))
    .description('Give up on what is pending for a key, or many; the reason is kept in the results of their workflows')
    .argument('[key]', 'the Redis key')
    .requiredOption('-r, --reason <text>', 'why, for whoever asks later')
    .addHelpText(
      'after',
      examples(
        "npx keymend skip user:42 --reason 'copied by hand'",
        "npx keymend skip --escalated --error Unsupported --reason 'copied by hand' --yes",
      ),
    )
    .action(async (key: string | undefined, flags: BulkFlags & { reason: string }, command: Command) => {
      await (await import('../verbs/skip.js')).skipKeys(key, flags, globalOptions(command));
    });
}
