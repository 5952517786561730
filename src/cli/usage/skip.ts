/** `keymend skip KEY --reason …` */
import { Command } from 'commander';
import { examples, globalOptions, type KeyOptions, withKeyOptions } from './options.js';

export function skipCommand(): Command {
  return withKeyOptions(new Command('skip'))
    .description('Give up on what is pending for a key; the reason is kept in the result of its workflow')
    .argument('<key>', 'the Redis key')
    .requiredOption('-r, --reason <text>', 'why, for whoever asks later')
    .addHelpText('after', examples("npx keymend skip user:42 --reason 'copied by hand'"))
    .action(async (key: string, options: KeyOptions & { reason: string }, command: Command) => {
      await (await import('../verbs/skip.js')).skipKey(key, options, globalOptions(command));
    });
}
