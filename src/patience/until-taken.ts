/** Patience with a service that is away. */
import { backOff } from './back-off.js';
import type { OutageReport } from './shared-outage.js';

/**
 * Repeats an attempt, with growing pauses, until it works.
 * @param outage is told how it goes
 * @param explain makes one line of what an attempt threw
 * @returns false when aborted before an attempt worked
 */
export async function untilTaken(
  attempt: () => Promise<void>,
  { outage, explain, signal }: { outage: OutageReport; explain: (error: unknown) => string; signal: AbortSignal },
): Promise<boolean> {
  for (let failed = 1; !signal.aborted; failed++) {
    try {
      await attempt();
      outage.worked();
      return true;
    } catch (error) {
      outage.failed(explain(error));
      await backOff(failed, signal);
    }
  }
  return false;
}
