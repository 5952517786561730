/** `keymend skip KEY --reason …` */
import { skip } from '../../../workflows/messages.js';
import { withClient } from '../configured.js';
import { EXIT, type GlobalOptions, print, VerbError } from '../context.js';
import { keyWorkflow } from '../key-workflow.js';
import { tell } from '../own-run.js';
import type { KeyOptions } from '../usage/options.js';

export async function skipKey(
  text: string,
  { reason, ...options }: KeyOptions & { reason: string },
  global: GlobalOptions,
): Promise<void> {
  if (reason.trim() === '') throw new VerbError('--reason is empty; say why, for whoever asks later', EXIT.usage);
  await withClient(global, async (client, config) => {
    const key = keyWorkflow(config, text, options);
    await tell(client, config, key, skip, { reason });
    print(global, { skipped: key.workflowId, reason }, () => [`${key.workflowId} gives up on what was pending`]);
  });
}
