/** A first attempt that compares what it has written once more, when `settle` has passed. */
import { Context } from '@temporalio/activity';
import type { KeyRequest, KeyResult } from '../src/engine/index.js';
import type { ReconcileRequest } from '../workflows/activities.js';
import { type Attempted, type EndedResult, effectOf, wroteList } from './effect.js';
import { inSlot, type Work } from './work.js';

/** In time of `performance.now`: when to compare again, and when that must have ended. */
interface Verification {
  readonly afterMs: number;
  readonly endsAt: number;
}

/** What a command may take (2 s), and the reply of the activity, are left for the second look. */
const SECOND_LOOK_MS = 2_200;
const LEFT_FOR_THE_REPLY_MS = 200;

/** @returns null where nothing is to be verified, or the activity has no time for that */
export function toVerify({ verify }: ReconcileRequest, result: KeyResult, begunAt: number): Verification | null {
  if (verify === undefined) return null;
  const isWritten = result.outcome === 'repaired' && (verify.always || wroteList(result));
  if (!isWritten && !(result.outcome === 'equal' && verify.alsoEqual === true)) return null;
  const endsAt = begunAt + Context.current().info.startToCloseTimeoutMs;
  if (performance.now() + verify.afterMs + SECOND_LOOK_MS > endsAt) return null;
  return { afterMs: verify.afterMs, endsAt: endsAt - LEFT_FOR_THE_REPLY_MS };
}

/**
 * Waits, and looks at the key once more. Whatever else than equality it comes to, the workflow does
 * the same again, durably. A worker that dies meanwhile has lost the wait alone: its workflow task
 * is given to another one only after 10 s, and what that one finds then is as good a second look.
 */
export async function verify(
  { gathering, attempts, verifying }: Work,
  key: KeyRequest,
  { afterMs, endsAt }: Verification,
  told: (ended: EndedResult, sinceMs: number) => void,
): Promise<Partial<Attempted>> {
  const context = Context.current();
  // Who finds no room among those that wait is told so at once, with a time that is of no use here.
  const waited = await verifying.run(async () => context.sleep(afterMs));
  if (waited !== undefined) return {};
  const overdue = AbortSignal.timeout(Math.max(0, Math.ceil(endsAt - performance.now())));
  const signal = AbortSignal.any([context.cancellationSignal, overdue]);
  const late = new Promise<'late'>((resolve) => overdue.addEventListener('abort', () => resolve('late')));
  try {
    for (;;) {
      const begunAt = performance.now();
      const look = inSlot(attempts, false, () => gathering.reconcile(key, signal));
      // A command under way is not waited for: a reply that comes too late loses the repair.
      look.catch(() => {});
      const result = await Promise.race([look, late]);
      if (result === 'late') return { earlier: 'unknown' };
      if (result.outcome === 'equal') return { verified: true };
      if (result.outcome === 'repaired') told(result, begunAt);
      // Those who wrote at the same time look again at the same time: a slot is free soon.
      const isBusy = result.outcome === 'deferred' && result.repaired === null;
      if (isBusy && performance.now() + result.retryAfterMs < endsAt) await context.sleep(result.retryAfterMs);
      else return effectOf(result) === 'nothing' ? {} : { earlier: effectOf(result) };
    }
  } catch (error) {
    if (context.cancellationSignal.aborted) throw error;
    // The first repair is done, whatever became of the look.
    return { earlier: 'unknown' };
  }
}
