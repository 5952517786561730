/** `keymend skip KEY --reason …` */
import { Command } from 'commander';
import { skip } from '../../workflows/messages.js';
import { expectAnswer } from './answers.js';
import { globalOptions, print, withClient } from './context.js';
import { explainMissing, handleOf, type KeyOptions, keyWorkflow, withKeyOptions } from './key-workflow.js';

export function skipCommand(): Command {
  return withKeyOptions(new Command('skip'))
    .description('Give up on what is pending for a key; the reason is kept in the result of its workflow')
    .argument('<key>', 'the Redis key')
    .option('-r, --reason <text>', 'why, for whoever asks later', 'no reason given')
    .action(async (text: string, options: KeyOptions & { reason: string }, command: Command) => {
      const global = globalOptions(command);
      await withClient(global, async (client, config) => {
        const key = keyWorkflow(config, text, options);
        await handleOf(client, key)
          .signal(skip, { reason: options.reason })
          .catch((error: unknown) => {
            throw explainMissing(error, key);
          });
        await expectAnswer(client, config, key.workflowId);
        print(global, { skipped: key.workflowId, reason: options.reason }, () => [
          `${key.workflowId} gives up on what was pending`,
        ]);
      });
    });
}
