/** `keymend retry KEY` and `keymend retry --escalated` */
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { Command } from 'commander';
import pMap from 'p-map';
import { retry } from '../../workflows/messages.js';
import { EXIT, globalOptions, print, VerbError, withClient } from './context.js';
import { escalatedIds } from './escalations.js';
import { explainMissing, handleOf, type KeyOptions, keyToReconcile, withKeyOptions } from './key-workflow.js';

const CONCURRENCY = 16;

export function retryCommand(): Command {
  return withKeyOptions(new Command('retry'))
    .description('Try again now: one key, or every escalated key')
    .argument('[key]', 'the Redis key')
    .option('--escalated', 'every escalated key (of --link, when given)')
    .action(async (text: string | undefined, options: KeyOptions & { escalated?: true }, command: Command) => {
      if ((text === undefined) === (options.escalated === undefined)) {
        throw new VerbError('say either a KEY or --escalated', EXIT.usage);
      }
      const global = globalOptions(command);
      await withClient(global, async (client, config) => {
        if (text !== undefined) {
          const key = keyToReconcile(config, text, options);
          await handleOf(client, key)
            .signal(retry)
            .catch((error: unknown) => {
              throw explainMissing(error, key);
            });
          print(global, { retried: 1 }, () => `asked ${key.workflowId} to try again`);
          return;
        }
        const signalled = await pMap(escalatedIds(client, options.link), (id) => retryListed(client, id), {
          concurrency: CONCURRENCY,
        });
        const retried = signalled.filter(Boolean).length;
        print(global, { retried }, () => `asked ${retried} escalated keys to try again`);
      });
    });
}

/**
 * @returns whether the key still was there to retry: one that healed since it was listed has
 *   nothing left
 */
async function retryListed(client: Client, workflowId: string): Promise<boolean> {
  try {
    await client.workflow.getHandle(workflowId).signal(retry);
    return true;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}
