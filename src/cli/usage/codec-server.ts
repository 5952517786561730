/** `keymend codec-server` */
import { Command } from 'commander';
import { examples, globalOptions } from './options.js';

export function codecServerCommand(): Command {
  return new Command('codec-server')
    .description('Decrypt payloads for the Web UI and the command line of Temporal')
    .addHelpText('after', examples('npx keymend codec-server --config /etc/keymend.yaml'))
    .action(async (_options: unknown, command: Command) => {
      await (await import('../verbs/codec-server.js')).codecServer(globalOptions(command));
    });
}
