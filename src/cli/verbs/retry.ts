/** `keymend retry KEY`, and of many keys. */
import type { Client } from '@temporalio/client';
import { outageLine } from '../../../workflows/details.js';
import { type ErrorType, retry } from '../../../workflows/messages.js';
import type { Config } from '../../config.js';
import { counted } from '../../plural.js';
import { bulk } from '../bulk/bulk.js';
import { signalling } from '../bulk/signalling.js';
import { withClient } from '../configured.js';
import { type GlobalOptions, print, report } from '../context.js';
import { type KeyWorkflow, keyToReconcile } from '../key-workflow.js';
import { tell } from '../own-run.js';
import type { BulkFlags } from '../usage/bulk.js';

/** One key, or many. */
export async function retryKeys(text: string | undefined, flags: BulkFlags, global: GlobalOptions): Promise<void> {
  await withClient(global, async (client, config) => {
    await bulk({
      ...{ global, client, config, text, flags },
      name: 'retry',
      verb: 'try again',
      // A retry destroys nothing, and scripts have always called it so.
      unasked: flags.escalated === true,
      one: (text) => retryOne(global, client, config, keyToReconcile(config, text, flags)),
      keyOf: keyToReconcile,
      tell: signalling(client, config, { looksAgain: false }, retry),
      said: (keys) => ({
        field: 'retried',
        line: `told ${counted(keys, flags.escalated ? 'escalated key' : 'key')} to try again`,
        healed: 'healed',
      }),
    });
  });
}

async function retryOne(global: GlobalOptions, client: Client, config: Config, key: KeyWorkflow): Promise<void> {
  const { state, outage, lastError } = await tell(client, config, key, retry);
  // Asked behind the signal: it waits because the server was found to be out once more.
  const what =
    outage === null ? 'tries again' : `waits for ${outageLine(outage)}, and is tried again when that answers`;
  print(global, { retried: 1, ...(outage !== null && { outage }) }, () => [`${key.workflowId} ${what}`]);
  if (state === 'done' || lastError?.type !== ('SourceSuspicious' satisfies ErrorType)) return;
  report(
    'the delete guard refused the last attempt, and refuses this one too while the source has so few keys; if the delete is ' +
      'meant, `keymend reconcile KEY --allow-delete`',
  );
}
