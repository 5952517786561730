/**
 * Versions of the rows that a cache has been told of, beside its keys: what is older is not filled
 * in. `keymend/cache` compares them, see src/cache/lua.
 */
import { slotOf, tagIn } from './slots.js';

/** So many digits, so that their order as texts is that of the numbers. */
const DIGITS = 20;
const LEAST_UNFIT = 2n ** 64n;

/** A whole number from 0 to 2^64 - 1 as it is compared; null: it is none. */
export function versionDigits(version: bigint): string | null {
  return version < 0n || version >= LEAST_UNFIT ? null : `${version}`.padStart(DIGITS, '0');
}

/** A key of keymend's own, in the slot of that one. */
export function besideKey(what: 'lease' | 'version', key: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`keymend:${what}:{${tagIn(slotOf(key))}}:`), key]);
}

export interface RowVersion {
  readonly key: Buffer;
  /** As of `versionDigits`. */
  readonly version: string;
}
