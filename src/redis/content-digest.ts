/** The digests that a server makes of a value, for one that no server has yet. */
import { createHash } from 'node:crypto';
import { packed } from './scripts/packed.js';

/** As lua/values/fingerprint.lua says it, in the place of a content digest. */
export const DIFFERENT = 'different';

/** Of a string, in front of the SHA-1 of its value: also there. */
export const VALUE_DIGEST = 'value:';

/**
 * In front of the digest of a row, in which no field expires: also in lua/values/content.lua, where
 * the expiries of fields are no part of what it is compared with.
 */
export const ROW_DIGEST = 'row:';

/** As lua/values/content.lua has them: short lists are sorted as they are. */
const [FEW, FEW_BYTES] = [16, 512];

/** The content digest of a string. */
export function digestOfString(value: Buffer): string {
  return sha1(value);
}

/**
 * The content digest of a hash in which no field expires.
 * @param fields by name, both of them bytes in Latin-1
 */
export function digestOfHash(fields: ReadonlyMap<string, string>): string {
  const elements = Array.from(fields, ([field, value]) => `${field.length}:${field}${value}`);
  const bytes = elements.reduce((sum, element) => sum + element.length, 0);
  if (elements.length <= FEW && bytes <= FEW_BYTES) {
    return sha1(packed(elements.sort().map((element) => Buffer.from(element, 'latin1'))));
  }
  return sha1(
    elements
      .map((element) => sha1(Buffer.from(element, 'latin1')))
      .sort()
      .join(''),
  );
}

export function sha1(bytes: Buffer | string): string {
  return createHash('sha1').update(bytes).digest('hex');
}
