/** `keymend doctor` */
import { Command } from 'commander';
import { examples, globalOptions } from './options.js';

export function doctorCommand(): Command {
  return new Command('doctor')
    .description(
      'Look at everything that keymend stands on: the configuration, Temporal, Kafka, both sides of each link, workers and bridges. ' +
        'Each line is ok, warn or fail, with what to do. Exit codes: 0 nothing fails, 1 something does',
    )
    .addHelpText('after', examples('npx keymend doctor', 'npx keymend doctor --output json'))
    .action(async (_options: object, command: Command) => {
      await (await import('../verbs/doctor.js')).doctor(globalOptions(command));
    });
}
