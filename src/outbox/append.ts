/** Appending to a stream that has a bound and is never trimmed. */
import { readFileSync } from 'node:fs';

/** An entry's fields in order: name, value, name, value, … */
type StreamFields = readonly (Buffer | string)[];

/** What `lua/append.lua` answered. `entries`: in the stream now. */
interface Appended {
  readonly outcome: 'appended' | 'full';
  readonly entries: number;
}

/**
 * The script, for EVAL with the stream as its only key. It is small, so it travels with each call.
 */
export const APPEND = readFileSync(new URL('./lua/append.lua', import.meta.url), 'utf8');

/** The arguments of `APPEND` behind the key. */
export function appendArguments(entries: readonly StreamFields[], maxEntries: number): (Buffer | string)[] {
  return [`${maxEntries}`, `${entries.length}`, ...entries.flatMap((fields) => [`${fields.length}`, ...fields])];
}

/** @param reply of EVAL, with texts as `Buffer` or as strings */
export function appended(reply: unknown): Appended {
  const [outcome, entries] = reply as [Buffer | string, number];
  return { outcome: String(outcome) as Appended['outcome'], entries };
}
