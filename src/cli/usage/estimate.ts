/** `keymend estimate KEYS` */
import { Command, Option } from 'commander';
import type { EstimateFlags } from '../verbs/estimate.js';
import { examples, globalOptions } from './options.js';

export function estimateCommand(): Command {
  return new Command('estimate')
    .description(
      'Say what so many failed keys cost, each way: one by one, in batches, and by a sweep with repair: actions and state ' +
        'transitions of Temporal, minutes within the budget of the link, and money. Nothing is asked of any service',
    )
    .argument('<keys>', 'how many keys have failed, for example 250000, 250k or 100M')
    .option('-l, --link <name>', 'the link whose budget counts; needed when there are several')
    .option('--price-per-million <price>', 'of a million actions, in any currency')
    .option('--keys-in-all <keys>', 'keys of the whole link, which a sweep goes through (default: KEYS)')
    .option('--value-bytes <bytes>', 'what a value has on average', '100')
    .addOption(
      new Option('--target <how>', 'how the target has the keys').choices(['differs', 'missing']).default('differs'),
    )
    .addOption(
      new Option('--outcome <outcome>', 'of the failed writes; what is unknown is looked at again after `settle`')
        .choices(['unknown', 'refused'])
        .default('unknown'),
    )
    .option('--transitions-per-second <number>', 'state transitions that your Temporal does', '1000')
    .addHelpText(
      'after',
      examples(
        'npx keymend estimate 1M --price-per-million 50',
        'npx keymend estimate 100M --keys-in-all 1G --output json',
      ),
    )
    .action(async (keys: string, flags: EstimateFlags, command: Command) => {
      (await import('../verbs/estimate.js')).estimateKeys(keys, flags, globalOptions(command));
    });
}
