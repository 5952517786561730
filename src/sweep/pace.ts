/** How fast a sweep goes: gently, so that servers have time for whom they are there for. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Of the time that passes, so much is spent with pages. */
const GENTLE_SHARE = 0.3;

/** What was done without a rest. */
export interface Work {
  readonly busyMs: number;
  readonly keys: number;
}

/**
 * Rests behind a page.
 * @param rate keys a second; undefined: gently
 */
export async function restBehind(work: Work, rate: number | undefined, signal: AbortSignal): Promise<void> {
  await rest(work, rate === undefined ? gently(work) : atRate(work, rate), signal);
}

/**
 * Rests behind a look at keys that were gone through before: a low rate of pages is no reason to
 * look at these more slowly than gently.
 */
export async function restBehindLook(work: Work, rate: number | undefined, signal: AbortSignal): Promise<void> {
  await rest(work, rate === undefined ? gently(work) : Math.min(gently(work), atRate(work, rate)), signal);
}

/** How long some work may take with its rest, in ms. No timer rests for less than 1 ms. */
function gently({ busyMs }: Work): number {
  return Math.max(busyMs / GENTLE_SHARE, busyMs + 1);
}

function atRate({ keys }: Work, rate: number): number {
  return (1_000 * keys) / rate;
}

async function rest({ busyMs }: Work, wholeMs: number, signal: AbortSignal): Promise<void> {
  if (wholeMs - busyMs >= 1) await sleep(wholeMs - busyMs, undefined, { signal });
}
