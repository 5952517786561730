/** `keymend reconcile`: one key, or many. */
import { Command } from 'commander';
import type { ReconcileFlags } from '../verbs/reconcile.js';
import { withBulkOptions } from './bulk.js';
import { examples, globalOptions, withKeyOptions } from './options.js';

export function reconcileCommand(): Command {
  return withBulkOptions(withKeyOptions(new Command('reconcile')))
    .description(
      'Make the target equal to the source for one key now, and say what was found: equal or repaired; or for many',
    )
    .argument('[key]', 'the Redis key')
    .option('--allow-delete', 'vouch for what the delete guard refused')
    .addHelpText(
      'after',
      examples(
        'npx keymend reconcile user:42',
        'npx keymend reconcile //8= --encoding base64 --link east-to-west',
        'npx keymend reconcile --file keys.txt --rate 50 --yes',
      ),
    )
    .action(async (key: string | undefined, flags: ReconcileFlags, command: Command) => {
      await (await import('../verbs/reconcile.js')).reconcile(key, flags, globalOptions(command));
    });
}
