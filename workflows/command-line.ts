/** The commands for a terminal that do what a signal does: to be copied as they are. */
import type { EncodedKey } from './failed-write.js';

/** A longer key, of any encoding, is not written out. */
const LONGEST_KEY = 200;
/** What a quoted argument and a Markdown code span show as it is. */
const PLAIN = /^[\p{L}\p{N}\p{P}\p{S} ]*$/u;

/**
 * @param verb with its options, for example `retry`
 * @returns one line without a backtick, in which no key can begin an option or a command
 */
export function commandFor(verb: string, link: string, { key, encoding = 'utf8' }: EncodedKey): string {
  // Who starts a workflow by hand may write anything.
  const name = /^[\w.-]+$/.test(link) ? link : 'LINK';
  return `npx keymend ${verb} --link ${name} ${argumentFor(key, encoding)}`;
}

function argumentFor(key: string, encoding: EncodedKey['encoding']): string {
  if (key.length > LONGEST_KEY) return 'KEY';
  if (encoding === 'base64') return `--encoding base64 -- ${quoted(key)}`;
  if (PLAIN.test(key) && !key.includes('`')) return key.startsWith('-') ? `-- ${quoted(key)}` : quoted(key);
  return `--encoding base64 -- ${quoted(toBase64(key))}`;
}

/** For a POSIX shell; a word that needs no quotes has none. */
function quoted(text: string): string {
  return /^[\w:./+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** The sandbox of workflows has no `Buffer`. */
function toBase64(text: string): string {
  const bytes = new TextEncoder().encode(text);
  let encoded = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const bits = (bytes[at]! << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    for (let digit = 0; digit < 4; digit++) {
      encoded += digit <= bytes.length - at ? DIGITS[(bits >> (18 - 6 * digit)) & 63] : '=';
    }
  }
  return encoded;
}
