/** `keymend skip KEY --reason …`, and of many keys. */
import { skip } from '../../../workflows/messages.js';
import { counted } from '../../plural.js';
import { bulk } from '../bulk/bulk.js';
import { signalling } from '../bulk/signalling.js';
import { withClient } from '../configured.js';
import { EXIT, type GlobalOptions, print, VerbError } from '../context.js';
import { keyWorkflow } from '../key-workflow.js';
import { tell } from '../own-run.js';
import type { BulkFlags } from '../usage/bulk.js';

/** One key, or many. */
export async function skipKeys(
  text: string | undefined,
  { reason, ...flags }: BulkFlags & { reason: string },
  global: GlobalOptions,
): Promise<void> {
  if (reason.trim() === '') throw new VerbError('--reason is empty; say why, for whoever asks later', EXIT.usage);
  await withClient(global, async (client, config) => {
    await bulk({
      ...{ global, client, config, text, flags },
      name: 'skip',
      verb: 'give up on what is pending',
      unasked: false,
      one: async (text) => {
        const key = keyWorkflow(config, text, flags);
        await tell(client, config, key, skip, { reason });
        print(global, { skipped: key.workflowId, reason }, () => [`${key.workflowId} gives up on what was pending`]);
      },
      keyOf: keyWorkflow,
      // What fails next of a key that has healed since is not meant, and would be given up.
      tell: signalling(client, config, { looksAgain: true }, skip, { reason }),
      said: (keys) => ({
        field: 'skipped',
        line: `told ${counted(keys, 'key')} to give up on what was pending`,
        healed: 'skipped',
      }),
    });
  });
}
