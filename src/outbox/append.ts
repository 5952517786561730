/** Appending to a stream that has a bound and is never trimmed. */
import { readFileSync } from 'node:fs';

/** An entry's fields in order: name, value, name, value, … */
type StreamFields = readonly (Buffer | string)[];

/** What `lua/append.lua` answered. `entries`: in the stream now. */
interface Appended {
  readonly outcome: 'appended' | 'full';
  readonly entries: number;
  /** The name that what stood there in place of a stream has now; null: nothing did. */
  readonly setAside: string | null;
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
  const [outcome, entries, setAside] = reply as [Buffer | string, number, Buffer | string];
  return { outcome: String(outcome) as Appended['outcome'], entries, setAside: String(setAside) || null };
}

/** Appends nothing, but sets aside what is no stream. Arguments of EVAL. */
export function setAsideForeign(stream: string): readonly [string, '1', string, ...string[]] {
  return [APPEND, '1', stream, '0', '0'];
}

/** One line about it. */
export function describeSetAside(stream: string, place: string, setAside: string): string {
  return `${stream} at ${place} was no stream, so it was set aside as ${setAside}; look what wrote it, and delete it`;
}
