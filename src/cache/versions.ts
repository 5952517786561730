/** Versions of rows: what a load says of itself, and what Redis compares. */

import { versionDigits } from '../redis/row-versions.js';

/** A whole number from 0 to 2^64 - 1 that grows with each write of a row. */
export type Version = bigint | number;

type Value = string | Buffer | null;

/** What a load gives: a value, or null where there is no row, and which version that is. */
export type Loaded = Value | { readonly value: Value; readonly version: Version };

/** @throws RangeError when it is none */
export function digitsOf(version: Version): string {
  const isExact = typeof version === 'bigint' || Number.isSafeInteger(version);
  const digits = isExact ? versionDigits(BigInt(version)) : null;
  if (digits !== null) return digits;
  throw new RangeError('a version must be a whole number from 0 to 2^64 - 1, and exact: give a bigint');
}

/** @throws RangeError when its version is none */
export function partsOf(loaded: Loaded): { readonly value: Buffer | null; readonly version: string } {
  const isPlain = loaded === null || typeof loaded === 'string' || Buffer.isBuffer(loaded);
  const { value, version } = isPlain
    ? { value: loaded, version: '' }
    : { ...loaded, version: digitsOf(loaded.version) };
  return { value: value === null ? null : Buffer.from(value as string), version };
}
