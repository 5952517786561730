/** What Temporal's client throws where nobody answered. */
import { isGrpcServiceError, WorkflowUpdateRPCTimeoutOrCancelledError } from '@temporalio/client';

const DEADLINE_EXCEEDED = 4;
/**
 * With this Temporal answers for a task queue that no worker has polled for a while, and for a run
 * whose worker can't go on with it.
 */
const FAILED_PRECONDITION = 9;

/** No worker has answered in time, or Temporal knows that none will. */
export function isUnanswered(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return true;
    if (!isGrpcServiceError(cause)) continue;
    if (cause.code === DEADLINE_EXCEEDED) return true;
    if (cause.code === FAILED_PRECONDITION && /poller|not ready|failed state/i.test(cause.details)) return true;
  }
  return false;
}

/** There is a worker, which fails each time that it goes on with this run: no wait helps. */
export function isStuck(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (isGrpcServiceError(cause) && cause.code === FAILED_PRECONDITION && /failed state/i.test(cause.details))
      return true;
  }
  return false;
}
