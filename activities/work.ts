/** What the attempts at one link share in a worker, and how they get a place in it. */
import { Context } from '@temporalio/activity';
import type { KeyResult, LinkSides, ReconcileOptions } from '../src/engine/index.js';
import { Gathering } from './gather.js';
import { ATTEMPTS_AT_ONCE, LARGE_KEYS_AT_ONCE, type Line, Slots } from './slots.js';

/** Whose activity it is. */
export interface WorkflowRun {
  readonly workflowId: string;
  readonly runId: string;
}

/** One link as a worker holds it. */
export interface LinkRuntime {
  readonly sides: LinkSides;
  readonly options: ReconcileOptions;
}

export interface Work extends LinkRuntime {
  readonly gathering: Gathering;
  readonly attempts: Slots;
  readonly largeKeys: Slots;
  /** Shared by all links. */
  readonly verifying: Slots;
}

/** @param line for attempts, shared by all links */
export function workOfLink({ sides, options }: LinkRuntime, verifying: Slots, line: Line): Work {
  const gathering = new Gathering(sides, options);
  const attempts = new Slots(ATTEMPTS_AT_ONCE, line);
  const largeKeys = new Slots(LARGE_KEYS_AT_ONCE);
  return { sides, options, gathering, attempts, largeKeys, verifying };
}

/**
 * What the link has no slot for now is deferred as by the budget. An attempt that takes up the work
 * of an earlier one waits here: how far that had come is kept no longer than this activity.
 */
export async function inSlot(slots: Slots, isResumed: boolean, work: () => Promise<KeyResult>): Promise<KeyResult> {
  for (;;) {
    const ended = await slots.run(work);
    const result: KeyResult =
      'outcome' in ended ? ended : { outcome: 'deferred', outage: null, repaired: null, ...ended };
    if (!isResumed || result.outcome !== 'deferred' || result.repaired !== null) return result;
    // That can take hours: the workflow waits for it, and the work begins anew.
    if (result.outage !== null) return result;
    await Context.current().sleep(result.retryAfterMs);
  }
}
