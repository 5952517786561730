/** `keymend start` */
import { Command } from 'commander';
import { examples, globalOptions } from './options.js';

export function startCommand(): Command {
  return new Command('start')
    .description('Run the bridge and a worker in one process')
    .addHelpText('after', examples('npx keymend start', 'npx keymend start --config .keymend/keymend.yaml'))
    .action(async (_options: unknown, command: Command) => {
      await (await import('../verbs/start.js')).start(globalOptions(command));
    });
}
