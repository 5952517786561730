/** Which workflow is responsible for a key. */
import { isUtf8 } from 'node:buffer';
import { createHash, createHmac } from 'node:crypto';

/** With the prefix. SQL stores of Temporal hold so many characters of an ID… */
export const MAX_ID_CHARACTERS = 255;
/** …and its frontend takes so many bytes. */
const MAX_ID_BYTES = 1_000;
/**
 * Control characters, halves of surrogate pairs, line and paragraph separators: nothing a person
 * could read or type.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;
const HASHED = /^sha256:[0-9a-f]{64}$/;
/** What workflows of ours begin with that are not of one key. */
const OF_KEYMEND = 'keymend/';

/** What a link says of the IDs of its workflows. */
interface IdsOfLink {
  readonly workflowIdPrefix: string;
  /** Nobody without it can tell of which key an ID is. */
  readonly workflowIdSecret?: string | undefined;
}

/** The ID of the workflow of a key: `workflowIdFor`, or with a secret its HMAC. */
export function workflowIdOf({ workflowIdPrefix: prefix, workflowIdSecret: secret }: IdsOfLink, key: Buffer): string {
  if (secret === undefined) return workflowIdFor(prefix, key);
  return `${prefix}hmac:${createHmac('sha256', secret).update(key).digest('hex')}`;
}

/**
 * The ID of the workflow of a key: the key itself where a person can read it and the whole ID has
 * at most 255 characters, so that it can be found in the Web UI; else `sha256:` and the hex digest
 * of the raw key. Two keys never share an ID (under one prefix), nor does one with another workflow
 * of ours: a key that looks like such an ID is hashed as well.
 * @param prefix `workflowIdPrefix` of the link
 * @param key raw bytes
 */
export function workflowIdFor(prefix: string, key: Buffer): string {
  return readable(prefix, key) ?? `${prefix}sha256:${createHash('sha256').update(key).digest('hex')}`;
}

function readable(prefix: string, key: Buffer): string | null {
  if (key.length === 0 || key.length > MAX_ID_BYTES || !isUtf8(key)) return null;
  const text = key.toString('utf8');
  const id = prefix + text;
  if ([...id].length > MAX_ID_CHARACTERS || Buffer.byteLength(id) > MAX_ID_BYTES) return null;
  const isTaken = HASHED.test(text) || text.startsWith(OF_KEYMEND) || id.startsWith(OF_KEYMEND);
  return isTaken || UNPRINTABLE.test(text) ? null : id;
}
