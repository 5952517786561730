/** How the workflow of a key is started, whoever starts it. */
import { defineSearchAttributeKey } from '@temporalio/common';
import { type ReconcileKeyInput, SEARCH_ATTRIBUTES } from '../../workflows/messages.js';
import { type LinkConfig, linkPolicy } from '../config.js';
import { encodeKey } from '../events/failed-write.js';
import { workflowIdFor } from './workflow-id.js';

const LINK = defineSearchAttributeKey(SEARCH_ATTRIBUTES.link, 'KEYWORD');

/** @param key raw bytes */
export function startOptions(link: LinkConfig, key: Buffer, taskQueue: string) {
  const input: ReconcileKeyInput = { link: link.name, ...encodeKey(key), policy: linkPolicy(link) };
  return {
    workflowId: workflowIdFor(link.workflowIdPrefix, key),
    taskQueue,
    args: [input] as [ReconcileKeyInput],
    typedSearchAttributes: [{ key: LINK, value: link.name }],
  };
}
