/** `keymend start` */
import { Command } from 'commander';
import { createLogger, examples, globalOptions, readConfig } from '../context.js';
import { bridgeService } from '../services/bridge-service.js';
import { runServices } from '../services/service.js';
import { workerService } from '../services/worker-service.js';

export function startCommand(): Command {
  return new Command('start')
    .description('Run the bridge and a worker in one process')
    .addHelpText('after', examples('npx keymend start', 'npx keymend start --config .keymend/keymend.yaml'))
    .action(async (_options: unknown, command: Command) => {
      const global = globalOptions(command);
      await runServices({ ...readConfig(global), logger: createLogger(global) }, [workerService, bridgeService]);
    });
}
