/** Temporal gives a query no end of its own: where its answer gets lost, it is waited for ever. */
import { type ConnectionLike, isGrpcServiceError, type WorkflowClientInterceptor } from '@temporalio/client';

const ANSWERED_WITHIN_MS = 30_000;
const ASKED_AT_MOST = 5;
const DEADLINE_EXCEEDED = 4; // of gRPC

/** @param connection that of the client, which may not be there before its options are */
export function askingAgain(connection: () => ConnectionLike): WorkflowClientInterceptor {
  return {
    async query(input, next) {
      for (let asked = 1; ; asked++) {
        try {
          return await connection().withDeadline(Date.now() + ANSWERED_WITHIN_MS, () => next(input));
        } catch (error) {
          if (asked === ASKED_AT_MOST || !isLate(error)) throw error;
        }
      }
    },
  };
}

function isLate(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return isGrpcServiceError(cause) && cause.code === DEADLINE_EXCEEDED;
}
