/**
 * What `KeymendClient` throws. `type` is for programs:
 *
 * - `NotRunning`: nothing is under way for the key, so nobody can be told.
 * - `WorkflowIdTaken`: under the ID of the key runs a workflow that is not keymend's.
 * - `ReservedKey`: keys under `keymend:` are keymend's own, and never reconciled.
 * - `NoAnswer`: no worker has answered in time. A signal is kept, and a workflow that was started
 *   for this as well; a reconcile of one that ran already is to be asked for again.
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
