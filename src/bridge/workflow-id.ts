/** Which workflow is responsible for a key. */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';

/** Temporal takes 1,000 bytes; the rest is for the prefix. */
const MAX_READABLE_BYTES = 900;
/**
 * Control characters, halves of surrogate pairs, line and paragraph separators: nothing a person
 * could read or type.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;
const HASHED = /^sha256:[0-9a-f]{64}$/;

/**
 * The ID of the workflow of a key: the key itself where a person can read it, so that it can be
 * found in the Web UI; else `sha256:` and the hex digest of the raw key. Two keys never share an ID
 * (under one prefix): a key that looks like a digest is hashed as well.
 * @param prefix `workflowIdPrefix` of the link
 * @param key raw bytes
 */
export function workflowIdFor(prefix: string, key: Buffer): string {
  return prefix + (readable(key) ?? `sha256:${createHash('sha256').update(key).digest('hex')}`);
}

function readable(key: Buffer): string | null {
  if (key.length === 0 || key.length > MAX_READABLE_BYTES || !isUtf8(key)) return null;
  const text = key.toString('utf8');
  return UNPRINTABLE.test(text) || HASHED.test(text) ? null : text;
}
