/** Failed writes that are told of as one of the whole key, whatever they have written. */
import type { FailedWrite } from '../../workflows/messages.js';
import { identityOf } from '../../workflows/pending.js';

/** Whether who is told of it looks at the whole key. */
export function isOfWholeKey({ command, merged }: Pick<FailedWrite, 'command' | 'merged'>): boolean {
  return command === undefined && merged?.hint === undefined;
}

/**
 * What a workflow that did not finish still had to do is unknown here, but it was something of this
 * key: the new one looks at all of it. Under an id of its own beside those of the failed write: the
 * new one may have been told of that before, as a part, and leaves out what it has seen.
 */
export function asWholeKey(event: FailedWrite): FailedWrite {
  // So it was told from the beginning, or is already.
  if (isOfWholeKey(event) && event.idempotent !== true) return event;
  const { id, failedAt, merged } = event;
  const { count, ids, firstFailedAt, lastFailedAt } = merged ?? {
    count: 1,
    ids: [identityOf(event)],
    firstFailedAt: failedAt,
    lastFailedAt: failedAt,
  };
  // Last, for the workflow keeps the newest ids.
  return { ...withoutScope(event), merged: { count, ids: [...ids, `whole-${id}`], firstFailedAt, lastFailedAt } };
}

/**
 * What a follower is told when the run before it turns out not to have finished. Whoever tells it
 * says the same, so that it counts once.
 * @param told the last failed write that it was told of
 */
export function wholeKeyAfter(runId: string, told: FailedWrite): FailedWrite {
  return { ...withoutScope(told), id: `after-${runId}` };
}

/** Also without `idempotent`: whatever is still to be done may be in flight. */
function withoutScope({
  command: _command,
  members: _members,
  idempotent: _idempotent,
  merged: _merged,
  ...rest
}: FailedWrite): FailedWrite {
  return rest;
}
