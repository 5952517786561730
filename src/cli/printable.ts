/**
 * Text that a terminal can do nothing with but show it. Keys, and what servers answer, come from
 * anybody: raw they could set the title of a window, delete what was said, or look like a line of
 * ours.
 */
import type { EncodedKey } from '../../workflows/failed-write.js';

/** Control and format characters (bidi controls among them), line separators, halves of pairs. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** One line: whatever is not seen is written as in JSON, `\u001b`. */
export function printable(line: string): string {
  return line.replace(UNSEEN, (character) => SHORT[character] ?? escaped(character));
}

/** JSON in one line, of the same value as ever, in ASCII where a terminal would take it amiss. */
export function jsonLine(value: unknown): string {
  return (JSON.stringify(value) ?? 'null').replace(UNSEEN, escaped);
}

function escaped(character: string): string {
  return Array.from({ length: character.length }, (_, at) => {
    return `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`;
  }).join('');
}

/** A key in one line: one in base64 is said to be so, for KEY is to be written as it is encoded. */
export function keyText(key: EncodedKey | null): string {
  if (key === null) return '(no key)';
  return key.encoding === 'base64' ? `${key.key} (base64)` : key.key;
}
