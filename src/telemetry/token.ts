/** Whether somebody who asks knows the token. */
import { createHash, timingSafeEqual } from 'node:crypto';

/** @param header `Authorization` */
export function isBearer(header: string | undefined, token: string): boolean {
  const [, given] = /^Bearer +(\S+) *$/i.exec(header ?? '') ?? [];
  return given !== undefined && isSame(given, token);
}

/** Takes as long for a token that is nearly right as for any other. */
export function isSame(given: string, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}
