/** How fast a sweep goes: gently, so that servers have time for whom they are there for. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Of the time that passes, so much is spent with pages. */
const GENTLE_SHARE = 0.3;

/**
 * Rests behind a page.
 * @param busyMs how long it took
 * @param keys how many it had
 * @param rate keys a second; undefined: gently
 */
export async function restBehind(
  { busyMs, keys }: { readonly busyMs: number; readonly keys: number },
  rate: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  const whole = rate === undefined ? busyMs / GENTLE_SHARE : (1_000 * keys) / rate;
  if (whole - busyMs >= 1) await sleep(whole - busyMs, undefined, { signal });
}
