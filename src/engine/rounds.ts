/**
 * A key that changed while it was compared gets another round: how many, how soon, and what is said
 * of the earlier ones.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { jittered, type Pauses, pauseAfter } from '../patience/pause.js';
import { counted } from '../plural.js';
import type { KeyResult, LinkSides, Repaired } from './contract.js';
import { ReconcileError } from './errors.js';

export const MAXIMUM_ROUNDS = 5;

/**
 * How long a key rests between rounds. A large value is not read again at once for the sake of a
 * key that is written just now.
 */
export const PAUSES = {
  small: { firstMs: 10, longestMs: 80 },
  members: { firstMs: 20, longestMs: 320 },
  large: { firstMs: 200, longestMs: 1_600 },
} as const satisfies Record<string, Pauses>;

/**
 * Rests after a round, with jitter, so that two attempts at one key fall out of step. Ends early,
 * and does not throw, when the signal aborts.
 * @param round the one that has ended, from 1
 */
export async function restAfter(round: number, pauses: Pauses, signal: AbortSignal | undefined): Promise<void> {
  await sleep(jittered(pauseAfter(round, pauses)), undefined, { signal }).catch(() => {});
}

/**
 * How long an attempt that was given up goes on with a key that it has written, until a look at the
 * source holds, in ms.
 */
const HEALING_MS = 3_000;

/**
 * The signal for the rounds after a write: what was written and then found to be old must not stay
 * because nobody waits for this attempt any more.
 * @returns aborts with the same reason `HEALING_MS` after `signal`
 */
export function healing(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined) return undefined;
  const later = new AbortController();
  const end = () => setTimeout(() => later.abort(signal.reason), HEALING_MS).unref();
  if (signal.aborted) end();
  else signal.addEventListener('abort', end, { once: true });
  return later.signal;
}

/** The end of a key of which an earlier round wrote `repaired`. */
export function withEarlier(result: KeyResult, repaired: Repaired | null): KeyResult {
  if (repaired === null) return result;
  switch (result.outcome) {
    case 'equal':
      return repaired;
    case 'deferred':
    case 'large':
      return { ...result, repaired: result.repaired ?? repaired };
    case 'failed':
      return { ...result, wrote: true };
    default:
      return result;
  }
}

/** The end of a key that changed in every one of so many rounds. */
export function contended({ source, target }: LinkSides, repaired: Repaired | null, rounds: number): KeyResult {
  const error = new ReconcileError(
    'Contended',
    'write',
    `the key kept changing on ${target.place} or ${source.place} through ${counted(rounds, 'comparison')}; ` +
      'it is tried again later, and converges once it is written less often',
  );
  return { outcome: 'failed', error, wrote: repaired !== null };
}
