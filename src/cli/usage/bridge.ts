/** `keymend bridge` */
import { Command } from 'commander';
import { examples, globalOptions } from './options.js';

export function bridgeCommand(): Command {
  return new Command('bridge')
    .description(
      'Run the bridge: failed writes from Kafka or from outboxes become signals to the workflow of their key',
    )
    .addHelpText('after', examples('npx keymend bridge --config /etc/keymend.yaml'))
    .action(async (_options: unknown, command: Command) => {
      await (await import('../verbs/bridge.js')).bridge(globalOptions(command));
    });
}
