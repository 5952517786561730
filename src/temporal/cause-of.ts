/** Why a workflow has failed. */
import type { WorkflowFailedError } from '@temporalio/client';

/** @returns the first cause; `type`: as its activity has named it */
export function causeOf(error: WorkflowFailedError): Error & { readonly type?: string } {
  let cause: unknown = error.cause;
  while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause;
  return (cause ?? error) as Error;
}
