/**
 * How often the workflow of one key is told of failed writes. Each signal costs a workflow task and
 * what follows from it; what comes meanwhile waits in the log and goes along with the next.
 */
import { setTimeout as sleep } from 'node:timers/promises';

/** Between two signals of a key that keeps failing: with its timers below one task a second. */
const APART_MS = 2_000;
/** So many come at once before that. */
const AT_ONCE = 3;

/** The generic cell rate algorithm, ITU-T I.371: of each key the time at which it is even. */
export class Pace {
  readonly #evenAt = new Map<string, number>();

  /** Resolves when the key may be signalled, or when aborted. Counts as its signal. */
  async turn(workflowId: string, signal: AbortSignal): Promise<void> {
    const now = performance.now();
    const evenAt = Math.max(this.#evenAt.get(workflowId) ?? 0, now) + APART_MS;
    // Behind all others: the front of the map is even first, about.
    this.#evenAt.delete(workflowId);
    this.#evenAt.set(workflowId, evenAt);
    for (const [key, at] of this.#evenAt) {
      if (at > now) break;
      this.#evenAt.delete(key);
    }
    const waitMs = evenAt - now - AT_ONCE * APART_MS;
    if (waitMs > 0) await sleep(waitMs, undefined, { signal }).catch(() => {});
  }
}
