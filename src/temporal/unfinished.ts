/** A run that was ended before its own end answers as it last was: nobody goes on with it. */
import type { KeyStatus, State } from '../../workflows/messages.js';

/** By the word of the server for it. */
const UNFINISHED = {
  TERMINATED: 'terminated',
  CANCELLED: 'cancelled',
  TIMED_OUT: 'timed out',
  FAILED: 'failed',
} as const;

type Unfinished = (typeof UNFINISHED)[keyof typeof UNFINISHED];

/** What a workflow says of itself; the state is how its run was ended, if not by itself. */
export interface RunStatus extends Omit<KeyStatus, 'state'> {
  readonly state: State | Unfinished;
}

/** @returns null for a run that goes on, or came to its own end */
export function unfinishedBy(word: string): Unfinished | null {
  return (UNFINISHED as Record<string, Unfinished>)[word] ?? null;
}

export function isUnfinished({ state }: { readonly state: string }): boolean {
  return Object.values<string>(UNFINISHED).includes(state);
}

/** Whatever it had planned, nobody does it any more. */
export function endedBy(ended: Unfinished) {
  return { state: ended, nextRetry: null, outage: null };
}
