/** How fast a sweep goes: gently, so that servers have time for whom they are there for. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Of the time that passes, so much is spent with pages: by each server, also by the slower one. */
const GENTLE_SHARE = 0.3;
/** A longer one ends at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** What was done without a rest. */
interface Work {
  /** Of the server that was busy for longest: without the way there and back. */
  readonly busyMs: number;
  /** For so long it was waited for: what the servers did meanwhile needs no rest twice. */
  readonly waitedMs: number;
  /** In all. */
  readonly passedMs: number;
  readonly keys: number;
}

/**
 * Rests behind a page.
 * @param rate keys a second; undefined: gently
 */
export async function restBehind(work: Work, rate: number | undefined, signal: AbortSignal): Promise<void> {
  await rest(rate === undefined ? gently(work) : atRate(work, rate), signal);
}

/**
 * Rests behind a look at keys that were gone through before: a low rate of pages is no reason to
 * look at these more slowly than gently.
 */
export async function restBehindLook(work: Work, rate: number | undefined, signal: AbortSignal): Promise<void> {
  await rest(rate === undefined ? gently(work) : Math.min(gently(work), atRate(work, rate)), signal);
}

/** How long to rest behind some work, in ms. No timer rests for less than 1 ms. */
function gently({ busyMs, waitedMs }: Work): number {
  return Math.max(busyMs / GENTLE_SHARE - waitedMs, 1);
}

function atRate({ keys, passedMs }: Work, rate: number): number {
  return (1_000 * keys) / rate - passedMs;
}

async function rest(ms: number, signal: AbortSignal): Promise<void> {
  for (let left = ms; left >= 1; left -= LONGEST_TIMER_MS) {
    await sleep(Math.min(left, LONGEST_TIMER_MS), undefined, { signal });
  }
}
