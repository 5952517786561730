/** `keymend reconcile KEY` */
import { Command } from 'commander';
import type { RetryRequest } from '../../../workflows/messages.js';
import { examples, globalOptions, type KeyOptions, withKeyOptions } from './options.js';

export function reconcileCommand(): Command {
  return withKeyOptions(new Command('reconcile'))
    .description('Make the target equal to the source for one key now, and say what was found: equal or repaired')
    .argument('<key>', 'the Redis key')
    .option('--allow-delete', 'vouch for a delete that the delete guard refused')
    .addHelpText(
      'after',
      examples('npx keymend reconcile user:42', 'npx keymend reconcile //8= --encoding base64 --link east-to-west'),
    )
    .action(async (key: string, options: KeyOptions & RetryRequest, command: Command) => {
      await (await import('../verbs/reconcile.js')).reconcile(key, options, globalOptions(command));
    });
}
