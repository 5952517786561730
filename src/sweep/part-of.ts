/** Which part of a link a sweep has looked at: "equal" of one prefix says nothing of the others. */
import type { AskedOptions } from '../../workflows/sweep-messages.js';

/** Behind the name of a link; nothing where it has looked at all keys. */
export function inBrackets({ match, type, sample, keys }: AskedOptions): string {
  const parts = [
    ...(match === undefined ? [] : [`keys that match ${match}`]),
    ...(type === undefined ? [] : [`type ${type}`]),
    ...(sample === undefined ? [] : [`a sample of ${Number((100 * sample).toPrecision(6))} %`]),
    ...(keys === undefined ? [] : [`keys of a report: ${keys}`]),
  ];
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`;
}
