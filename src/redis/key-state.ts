/** What there is to say of a key without its value. */

/** `expiry` of a key that has none: the word of PEXPIRETIME. */
export const NO_EXPIRY = -1;

/**
 * An expiry as commands take it. The greatest number of 64 bits has no `number`; the one beside it
 * stands for it.
 */
export function expiryDigits(expiry: number): string {
  return expiry < 2 ** 63 ? `${expiry}` : '9223372036854775807';
}

/** `type` of a key that is not there: the word of TYPE. */
export const NO_TYPE = 'none';

/**
 * `digest` of a value that is too large to be gone through in one call. It proves nothing; see
 * `scanMembers`.
 */
export const LARGE = 'large';

/** A key at one moment, without its value. A key past its expiry is not there. */
export interface KeyState {
  /** As TYPE says it: `string`, `hash`, …, or `none`. */
  readonly type: string;
  /**
   * What identifies type and content: of a small value its DUMP in Latin-1, of a string a digest of
   * the value, of any other a digest of the DUMP. Empty without key. Two equal ones prove equality.
   * Two different ones prove a difference only where lua/values/fingerprint.lua or dump.ts says so,
   * for a DUMP depends on encoding, order and version. `LARGE` for large values.
   */
  readonly digest: string;
  /**
   * ms since the epoch, or `NO_EXPIRY`; without key -2, the word of PEXPIRETIME. From 2^53 on (the
   * year 287396) to the nearest `number`.
   */
  readonly expiry: number;
}
