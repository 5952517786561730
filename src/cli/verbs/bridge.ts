/** `keymend bridge` */
import { Command } from 'commander';
import { createLogger, examples, globalOptions, readConfig } from '../context.js';
import { bridgeService } from '../services/bridge-service.js';
import { runServices } from '../services/service.js';

export function bridgeCommand(): Command {
  return new Command('bridge')
    .description(
      'Run the bridge: failed writes from Kafka or from outboxes become signals to the workflow of their key',
    )
    .addHelpText('after', examples('npx keymend bridge --config /etc/keymend.yaml'))
    .action(async (_options: unknown, command: Command) => {
      const global = globalOptions(command);
      await runServices({ ...readConfig(global), logger: createLogger(global) }, [bridgeService]);
    });
}
