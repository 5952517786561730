/** `keymend config check` */
import { Command } from 'commander';
import { examples, globalOptions } from './options.js';

export function configCommand(): Command {
  return new Command('config')
    .description('About the configuration')
    .addHelpText('after', examples('npx keymend config check'))
    .addCommand(
      new Command('check')
        .description('Read the configuration, then reach every service that it names')
        .addHelpText(
          'after',
          examples('npx keymend config check', 'npx keymend config check --config /etc/keymend.yaml'),
        )
        .action(async (_options: unknown, command: Command) => {
          await (await import('../verbs/config.js')).configCheck(globalOptions(command));
        }),
    );
}
