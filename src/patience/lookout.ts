/** Something that is looked at again and again, beside the work, until it is stopped. */
import { setTimeout as sleep } from 'node:timers/promises';

interface Lookout {
  /** Looks now, or once more if a look is under way, instead of at the next time. */
  now(): void;
  /** Waits for a look that is under way. */
  stop(): Promise<void>;
}

/**
 * @param look must not reject
 * @param everyMs from the end of a look to the next
 */
export function lookOut(everyMs: number, look: () => Promise<void>): Lookout {
  let stopped = false;
  let wake = new AbortController();

  async function run(): Promise<void> {
    while (!stopped) {
      // Rejects when someone asks for a look.
      await sleep(everyMs, undefined, { signal: wake.signal }).catch(() => {});
      if (stopped) return;
      wake = new AbortController();
      await look();
    }
  }

  const running = run();
  return {
    now: () => wake.abort(),
    async stop() {
      stopped = true;
      wake.abort();
      await running;
    },
  };
}
