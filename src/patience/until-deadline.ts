/** Patience with a service that is away, up to a deadline. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Pauses, pauseAfter } from './pause.js';

/**
 * Repeats an attempt, with growing pauses, until it works, the time is over or nobody waits any
 * more.
 * @param attempt resolves with null when it worked, else with what is thrown if it was the last;
 *   rejects when another one would be in vain
 * @param deadline by `performance.now()`: after it only the first attempt begins
 * @throws what the last attempt resolved or rejected with
 */
export async function untilDeadline(
  attempt: () => Promise<Error | null>,
  { deadline, pauses, isClosed }: { deadline: number; pauses: Pauses; isClosed: () => boolean },
): Promise<void> {
  for (let failed = 1; ; failed++) {
    const failure = await attempt();
    if (failure === null) return;
    const pause = pauseAfter(failed, pauses);
    if (isClosed() || performance.now() + pause > deadline) throw failure;
    await sleep(pause);
    // Another attempt would connect again what was disconnected meanwhile.
    if (isClosed()) throw failure;
  }
}
