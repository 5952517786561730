/** What was tried, in short: attempts by the error that they failed with. Pure. */
import type { Tried } from './messages.js';

/** So many errors are kept; a key that fails in more ways than these has lost the oldest. */
const MOST = 5;

/**
 * @param from when the first of these attempts began, in ms since the epoch
 * @param to when the last one ended
 */
export function withTried(
  tried: readonly Tried[],
  { type, attempts, from, to }: { type: string; attempts: number; from: number; to: number },
): readonly Tried[] {
  const before = tried.find((each) => each.type === type);
  const more: Tried = {
    type,
    attempts: attempts + (before?.attempts ?? 0),
    from: before?.from ?? new Date(from).toISOString(),
    to: new Date(to).toISOString(),
  };
  return [...tried.filter((each) => each !== before), more].slice(-MOST);
}
