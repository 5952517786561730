/** What is thrown at other services, and what it is made of. */
import { errorText, isTemporalError } from '../temporal/error-text.js';
import { isUnanswered } from '../temporal/unanswered.js';

/**
 * What `KeymendClient` throws. `type` is for programs:
 *
 * - `NotRunning`: nothing is under way for the key, so nobody can be told.
 * - `WorkflowIdTaken`: under the ID of the key runs a workflow that is not keymend's.
 * - `ReservedKey`: keys under `keymend:` are keymend's own, and never reconciled.
 * - `NoAnswer`: no worker, or Temporal itself, has answered in time. A signal that Temporal has
 *   taken is kept, and a workflow that was started for this as well; a reconcile of one that ran
 *   already is to be asked for again.
 * - `TemporalFailed`: Temporal can't be reached, or refuses; the message says why.
 * - `NotDone`: the key is still reconciled; ask for its status later.
 * - an error type of docs/errors.md (`TargetReadOnly`, `SourceSuspicious`, …): the reconcile has
 *   ended so, and the key is `escalated` or tried again by itself.
 */
export class KeymendClientError extends Error {
  override readonly name = 'KeymendClientError';
  readonly type: string;

  constructor(type: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.type = type;
  }
}

/**
 * What is thrown in place of an error of Temporal's client; any other stays as it is.
 * @param late what is said where nobody has answered in time
 * @param isOver the time is over: a server that is told of it may fail in a way of its own
 */
export function explained(error: unknown, late: string, isOver = false): unknown {
  const isLate = isUnanswered(error) || (isOver && isTemporalError(error));
  if (isLate) return new KeymendClientError('NoAnswer', late, error);
  return isTemporalError(error) ? new KeymendClientError('TemporalFailed', errorText(error), error) : error;
}
