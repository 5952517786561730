/** A key that changed while it was compared gets another round: how many there are, and what is said of the earlier ones. */
import type { KeyResult, LinkSides, Repaired } from './contract.js';
import { ReconcileError } from './errors.js';

export const MAXIMUM_ROUNDS = 5;

/** The end of a key of which an earlier round wrote `repaired`. */
export function withEarlier(result: KeyResult, repaired: Repaired | null): KeyResult {
  if (repaired === null) return result;
  switch (result.outcome) {
    case 'equal':
      return repaired;
    case 'deferred':
      return { ...result, repaired: result.repaired ?? repaired };
    case 'failed':
      return { ...result, wrote: true };
    default:
      return result;
  }
}

/** The end of a key that changed in every round. */
export function contended({ source, target }: LinkSides, repaired: Repaired | null): KeyResult {
  const error = new ReconcileError(
    'Contended',
    'write',
    `the key kept changing on ${target.place} or ${source.place} through ${MAXIMUM_ROUNDS} comparisons; ` +
      'it is tried again later, and converges once it is written less often',
  );
  return { outcome: 'failed', error, wrote: repaired !== null };
}
