/** How many headers a record may have. */
import type { IHeaders } from 'kafkajs';

/**
 * A batch with a record of more can't be read: kafkajs takes time with the square of their number.
 */
export const MOST_HEADERS = 2_000;

/**
 * As many as a record may have for itself and those beside it to be read. What keymend reads of
 * them comes first; of headers without end, which anybody may write, the others are left out.
 */
export function fittingHeaders(headers: IHeaders): IHeaders {
  const each = Object.entries(headers).flatMap(([name, values = []]) =>
    [values].flat().map((one, index) => ({ name, one, index })),
  );
  if (each.length <= MOST_HEADERS) return headers;
  const isOurs = ({ name, index }: (typeof each)[number]) =>
    index === 0 && (name.startsWith('dlq.') || name === 'traceparent');
  const first = [...each.filter(isOurs), ...each.filter((header) => !isOurs(header))].slice(0, MOST_HEADERS);
  const kept = new Map<string, (Buffer | string)[]>();
  for (const { name, one } of first) {
    const values = kept.get(name);
    if (values === undefined) kept.set(name, [one]);
    else values.push(one);
  }
  return Object.fromEntries(kept);
}

/** Of their names and values. */
export function bytesOf(headers: IHeaders): number {
  let bytes = 0;
  for (const [name, values = []] of Object.entries(headers)) {
    for (const one of [values].flat()) bytes += name.length + one.length;
  }
  return bytes;
}
