/** What the failure of an attempt's activity says, also where the attempt could say nothing. */
import { ActivityFailure, ApplicationFailure, isCancellation, TimeoutFailure } from '@temporalio/workflow';
import type { AttemptErrorDetail, Earlier } from './activities.js';
import type { LastError } from './messages.js';

export const CANCELLED = 'Cancelled';
/** Of the text of an error, which travels to the next run. In UTF-16 units. */
const MOST_SAID = 2_000;
/** Far longer than any: it becomes a search attribute, for which a longer one would be refused. */
const LONGEST_TYPE = 200;

export interface FailedAttempt {
  readonly kind: 'failed';
  readonly error: LastError;
  readonly attempts: number;
  readonly permanent: boolean;
  readonly wrote: boolean;
  readonly earlier: Earlier;
}

/** @param maximumAttempts of its activity: which one it was, not every failure says */
export function failedAttempt(failure: unknown, maximumAttempts = 1): FailedAttempt {
  const wasLast = failure instanceof ActivityFailure && failure.retryState === 'MAXIMUM_ATTEMPTS_REACHED';
  const unsaid = wasLast ? maximumAttempts : 1;
  const cause = failure instanceof ActivityFailure && failure.cause !== undefined ? failure.cause : failure;
  if (cause instanceof ApplicationFailure) {
    const detail = cause.details?.[0] as AttemptErrorDetail | undefined;
    const message = cause.message.slice(0, MOST_SAID);
    const type = (cause.type ?? 'Error').slice(0, LONGEST_TYPE);
    const error = { type, message, stage: detail?.stage ?? null };
    const { attempt = unsaid, wrote = false, earlier = 'nothing' } = detail ?? {};
    return { kind: 'failed', error, attempts: attempt, permanent: cause.nonRetryable === true, wrote, earlier };
  }
  if (isCancellation(failure)) return cancelled();
  const type = cause instanceof TimeoutFailure ? 'AttemptLost' : cause instanceof Error ? cause.name : 'Error';
  const message = cause instanceof TimeoutFailure ? describeTimeout(cause) : String(cause).slice(0, MOST_SAID);
  const error = { type, message, stage: null };
  return { kind: 'failed', error, attempts: unsaid, permanent: false, wrote: false, earlier: 'unknown' };
}

/** A heartbeat is sent by the clock, whatever a Redis does. */
function describeTimeout({ timeoutType }: TimeoutFailure): string {
  return timeoutType === 'HEARTBEAT'
    ? 'the worker of the attempt died, stood still or lost Temporal; neither source nor target is to blame'
    : 'the attempt did not end in time: its worker died or stood still, or source or target answers too slowly';
}

function cancelled(): FailedAttempt {
  const error: LastError = { type: CANCELLED, message: 'cancelled', stage: null };
  return { kind: 'failed', error, attempts: 0, permanent: false, wrote: false, earlier: 'nothing' };
}
