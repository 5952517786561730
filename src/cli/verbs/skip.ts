/** `keymend skip KEY --reason …` */
import { Command } from 'commander';
import { skip } from '../../../workflows/messages.js';
import { EXIT, examples, globalOptions, print, VerbError, withClient } from '../context.js';
import { type KeyOptions, keyWorkflow, withKeyOptions } from '../key-workflow.js';
import { tell } from '../own-run.js';

export function skipCommand(): Command {
  return withKeyOptions(new Command('skip'))
    .description('Give up on what is pending for a key; the reason is kept in the result of its workflow')
    .argument('<key>', 'the Redis key')
    .requiredOption('-r, --reason <text>', 'why, for whoever asks later')
    .addHelpText('after', examples("npx keymend skip user:42 --reason 'copied by hand'"))
    .action(async (text: string, options: KeyOptions & { reason: string }, command: Command) => {
      const { reason } = options;
      if (reason.trim() === '') throw new VerbError('--reason is empty; say why, for whoever asks later', EXIT.usage);
      const global = globalOptions(command);
      await withClient(global, async (client, config) => {
        const key = keyWorkflow(config, text, options);
        await tell(client, config, key, skip, { reason });
        print(global, { skipped: key.workflowId, reason }, () => [`${key.workflowId} gives up on what was pending`]);
      });
    });
}
