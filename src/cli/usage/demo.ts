/** `keymend demo` */
import { Command } from 'commander';
import { examples, globalOptions } from './options.js';

export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'Watch it work: real services, an application that dual-writes over a failing link, an outage of thousands of keys, ' +
        'a sweep, and a full comparison; the timeline is kept as a page',
    )
    .option('--keep', 'leave the services, the bridge and a worker running to look around')
    .addHelpText('after', examples('npx keymend demo', 'npx keymend demo --keep'))
    .action(async ({ keep = false }: { keep?: boolean }, command: Command) => {
      await (await import('../verbs/demo.js')).demo(keep, globalOptions(command));
    });
}
