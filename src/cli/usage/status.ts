/** `keymend status` */
import { Command } from 'commander';
import { examples, globalOptions, type KeyOptions, withKeyOptions } from './options.js';

export function statusCommand(): Command {
  return withKeyOptions(new Command('status'))
    .description(
      'Show what is known of a key: state, attempts, pending failed writes, last error, next retry, what to do about one that is ' +
        'escalated, and how the two sides differ now. Without a key: of each link, ' +
        'whether both sides answer, how many keys they have, whether the delete guard lets deletes pass now, and what is known to ' +
        'be lost; how many keys are under way, and whether a worker and a bridge run',
    )
    .argument('[key]', 'the Redis key')
    .addHelpText('after', examples('npx keymend status', 'npx keymend status user:42 --output json'))
    .action(async (key: string | undefined, options: KeyOptions, command: Command) => {
      await (await import('../verbs/status.js')).status(key, options, globalOptions(command));
    });
}
