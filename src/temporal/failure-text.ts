/** What a failure says that Temporal tells of, which may be encrypted. */
import type { WorkflowClient } from '@temporalio/client';
import type { ProtoFailure } from '@temporalio/common';
import { decodeOptionalFailureToOptionalError } from '@temporalio/common/lib/internal-non-workflow/index.js';

/** @throws CodecError where a key for it is missing */
export async function failureText(client: WorkflowClient, failure: ProtoFailure): Promise<string> {
  return (await decodeOptionalFailureToOptionalError(client.options.loadedDataConverter, failure))?.message ?? '';
}
