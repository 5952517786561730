/** `keymend worker` */
import { Command } from 'commander';
import { examples, globalOptions } from './options.js';

export function workerCommand(): Command {
  return new Command('worker')
    .description('Run a worker: it reconciles keys')
    .addHelpText(
      'after',
      examples('npx keymend worker --config /etc/keymend.yaml', 'npx keymend worker --log-level debug'),
    )
    .action(async (_options: unknown, command: Command) => {
      await (await import('../verbs/worker.js')).worker(globalOptions(command));
    });
}
