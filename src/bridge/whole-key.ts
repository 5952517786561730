/** Failed writes that are told of as one of the whole key, whatever they have written. */
import type { FailedWrite } from '../../workflows/messages.js';

/** Whether who is told of it looks at the whole key. */
export function isOfWholeKey({ command, merged }: FailedWrite): boolean {
  return command === undefined && merged?.hint === undefined;
}

/**
 * What a workflow that did not finish still had to do is unknown here, but it was something of this
 * key: the new one looks at all of it.
 */
export function asWholeKey(events: readonly FailedWrite[]): readonly FailedWrite[] {
  return events.map(({ command: _command, members: _members, idempotent: _idempotent, merged, ...rest }) => ({
    ...rest,
    ...(merged && { merged: { ...merged, hint: undefined } }),
  }));
}

/**
 * What a follower is told when the run before it turns out not to have finished. Whoever tells it
 * says the same, so that it counts once.
 * @param told the last failed write that it was told of
 */
export function wholeKeyAfter(runId: string, told: FailedWrite): FailedWrite {
  return asWholeKey([{ ...told, merged: undefined, id: `after-${runId}` }])[0]!;
}
