/** How the workflow of a key is started, whoever starts it. */
import type { ReconcileKeyInput } from '../../workflows/messages.js';
import { type LinkConfig, linkPolicy } from '../config.js';
import { encodeKey } from '../events/failed-write-codec.js';
import { workflowIdOf } from './workflow-id.js';

/**
 * Without the search attribute of the link: see `LinkAttribute`.
 * @param key raw bytes
 */
export function startOptions(link: LinkConfig, key: Buffer, taskQueue: string) {
  const input: ReconcileKeyInput = { link: link.name, ...encodeKey(key), policy: linkPolicy(link), version: 3 };
  return {
    workflowId: workflowIdOf(link, key),
    taskQueue,
    args: [input] as [ReconcileKeyInput],
  };
}
