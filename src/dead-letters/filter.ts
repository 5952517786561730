/** Which letters are meant, and which belong together. */
import { createHash } from 'node:crypto';
import type { LetterFilter, LetterMatch } from '../../workflows/redrive-messages.js';
import { type Letter, nameOf } from './letter.js';

/**
 * The same for all letters of one reason, error, link and prefix, in every process and at all
 * times: it can stand in a note or an alert.
 */
export function fingerprintOf({ reason, errorType, link, prefix }: Letter): string {
  // As JSON no part can run into the next.
  const parts = JSON.stringify([reason, errorType ?? null, link ?? null, prefix]);
  return createHash('sha256').update(parts).digest('hex').slice(0, 8);
}

/** @param now ms since the epoch, for what is said of ages */
export function isMeant(letter: Letter, filter: LetterFilter, now: number): boolean {
  if (filter.unless?.some((match) => matches(letter, match, now))) return false;
  const { prefix, group, since, until, letters } = filter;
  if (prefix !== undefined && !letter.record.key?.subarray(0, bytesOf(prefix).length).equals(bytesOf(prefix)))
    return false;
  if (since !== undefined && letter.at < Date.parse(since)) return false;
  if (until !== undefined && letter.at >= Date.parse(until)) return false;
  if (group !== undefined && fingerprintOf(letter) !== group) return false;
  if (letters !== undefined && !letters.includes(nameOf(letter.place))) return false;
  return matches(letter, filter, now);
}

function matches(letter: Letter, { reason, errorType, link, olderThanMs }: LetterMatch, now: number): boolean {
  if (reason !== undefined && letter.reason !== reason) return false;
  if (errorType !== undefined && letter.errorType !== errorType) return false;
  if (link !== undefined && letter.link !== link) return false;
  return olderThanMs === undefined || now - letter.at >= olderThanMs;
}

function bytesOf(text: string): Buffer {
  return Buffer.from(text);
}
