/** From the KEY that a person types to the workflow that owns it. */
import {
  type Client,
  type WorkflowExecutionDescription,
  type WorkflowHandle,
  WorkflowNotFoundError,
} from '@temporalio/client';
import type { EncodedKey } from '../../workflows/messages.js';
import type { reconcileKey } from '../../workflows/reconcile-key.js';
import { workflowIdOf } from '../bridge/workflow-id.js';
import type { Config, LinkConfig } from '../config.js';
import { encodeKey, keyBytes } from '../events/failed-write-codec.js';
import { isOwnKey, OWN_KEY_REFUSED } from '../own-keys.js';
import { errorText } from '../temporal/error-text.js';
import { chooseLink, EXIT, VerbError } from './context.js';
import { keyText } from './printable.js';
import type { KeyOptions } from './usage/options.js';

/** What is said of a run that has ended. */
type Ended = Pick<WorkflowExecutionDescription, 'closeTime'>;

export interface KeyWorkflow {
  readonly link: LinkConfig;
  readonly key: EncodedKey;
  readonly workflowId: string;
}

export function keyWorkflow(config: Config, text: string, { link: name, encoding }: KeyOptions): KeyWorkflow {
  const link = chooseLink(config, name);
  if (text === '') {
    throw new VerbError(
      'KEY is empty, most likely a shell variable that is not set; the key without a name is reconciled by a record of it',
      EXIT.usage,
    );
  }
  const bytes = Buffer.from(text, encoding);
  if (encoding === 'base64' && bytes.toString('base64') !== text) {
    throw new VerbError(`KEY is not base64: ${text}`, EXIT.usage);
  }
  return { link, key: encodeKey(bytes), workflowId: workflowIdOf(link, bytes) };
}

/** `keyWorkflow` for verbs that want the key reconciled. @throws VerbError for a key of our own */
export function keyToReconcile(config: Config, text: string, options: KeyOptions): KeyWorkflow {
  const found = keyWorkflow(config, text, options);
  if (isOwnKey(keyBytes(found.key))) throw new VerbError(OWN_KEY_REFUSED, EXIT.usage);
  return found;
}

export function handleOf(client: Client, { workflowId }: KeyWorkflow): WorkflowHandle<typeof reconcileKey> {
  return client.workflow.getHandle<typeof reconcileKey>(workflowId);
}

/**
 * Turns "there is no such workflow" into what it means to the person; any other error names the
 * workflow and why.
 */
export function explainMissing(error: unknown, key: KeyWorkflow, ended: Ended | null = null): Error {
  if (error instanceof WorkflowNotFoundError) return nothingUnderWay(key, ended);
  return new VerbError(`workflow ${key.workflowId} cannot be asked: ${errorText(error)}`);
}

/**
 * @param ended its newest run; null: there was none, as far as is known
 * @param doubt why that may not be so; null: it is
 */
export function nothingUnderWay(
  { key, link }: KeyWorkflow,
  ended: Ended | null = null,
  doubt: string | null = null,
): Error {
  const next =
    ended === null
      ? '; `keymend reconcile KEY` looks at a key that no failed write named'
      : `: its workflow ended at ${(ended.closeTime ?? new Date()).toISOString()}; \`keymend reconcile KEY\` looks at it again`;
  return new VerbError(
    `nothing is under way for key ${keyText(key)} of link ${link.name}${next}${doubt === null ? '' : `. But ${doubt}`}`,
  );
}
