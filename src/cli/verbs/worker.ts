/** `keymend worker` */
import { Command } from 'commander';
import { createLogger, examples, globalOptions, readConfig } from '../context.js';
import { runServices } from '../services/service.js';
import { workerService } from '../services/worker-service.js';

export function workerCommand(): Command {
  return new Command('worker')
    .description('Run a worker: it reconciles keys')
    .addHelpText(
      'after',
      examples('npx keymend worker --config /etc/keymend.yaml', 'npx keymend worker --log-level debug'),
    )
    .action(async (_options: unknown, command: Command) => {
      const global = globalOptions(command);
      await runServices({ ...readConfig(global), logger: createLogger(global) }, [workerService]);
    });
}
