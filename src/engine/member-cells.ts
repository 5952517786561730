/**
 * Members as the port has them: on the target a digest, on the source a cell, each with the expiry
 * of the member in front of a `+`.
 */
import { createHash } from 'node:crypto';
import { type MembersReading, type MembersRepair, type MembersState, NO_EXPIRY } from '../redis/index.js';
import { type ExpiryTolerance, sameExpiry, tolerates } from './expiry-tolerance.js';

const PLUS = 0x2b;

/**
 * How many members more or fewer of a large value may be on their way to the target. Looking at all
 * of it for each failed write would be too much where several writers add to it all the time.
 */
const ON_THEIR_WAY = 100;

/**
 * Whether both sides have equally many members once the named ones are equal. If not, they differ
 * elsewhere: as where a key expired on one side alone and was made anew. A write of the expiry
 * alone names no member, and there nothing but this number tells.
 */
export function countsAgree(observed: MembersState, source: MembersReading): boolean {
  const wanted = source.cells.filter((cell) => cell.length > 0).length;
  const present = observed.digests.filter((digest) => digest !== '').length;
  const more = Math.abs(observed.count) + wanted - present - Math.abs(source.count);
  const areLarge = observed.count < 0 && source.count < 0;
  return Math.abs(more) <= (areLarge && source.cells.length > 0 ? ON_THEIR_WAY : 0);
}

/**
 * A member's own expiry, `NO_EXPIRY` for one that has none, and the digest of its value; of a cell
 * or a digest of the port.
 */
interface Member {
  readonly expiry: number;
  readonly digest: string;
}

export function sameMember(digest: string, cell: Buffer, tolerance: ExpiryTolerance): boolean {
  if (digest === '' || cell.length === 0) return digest === '' && cell.length === 0;
  const [target, source] = [memberOfDigest(digest), memberOfCell(cell)];
  return target.digest === source.digest && tolerates(tolerance, target.expiry, source.expiry);
}

function memberOfDigest(digest: string): Member {
  const [expiry, value] = digest.split('+') as [string, string];
  return { expiry: expiryOf(expiry), digest: value };
}

function memberOfCell(cell: Buffer): Member {
  const plus = cell.indexOf('+');
  const digest = createHash('sha1')
    .update(cell.subarray(plus + 1))
    .digest('hex');
  return { expiry: expiryOf(cell.toString('latin1', 0, plus)), digest };
}

function expiryOf(digits: string): number {
  return digits === '' ? NO_EXPIRY : Number(digits);
}

/** The expiries to compare: of the key, and of the fields that have one. */
export function expiryPairs(target: MembersState, source: MembersReading): { target: number; source: number }[] {
  const fields = source.cells.flatMap((cell, index) => {
    const digest = target.digests[index]!;
    // Most cells begin with the `+` at once.
    if (cell.length === 0 || digest === '' || cell[0] === PLUS || digest.startsWith('+')) return [];
    return [{ target: memberOfDigest(digest).expiry, source: expiryOf(cell.toString('latin1', 0, cell.indexOf('+'))) }];
  });
  return [{ target: target.expiry, source: source.expiry }, ...fields];
}

/** All that the repair sets. @param isBeside whether it writes a temporary key */
export function expiriesOf(isBeside: boolean, { observed, cells, expiry }: MembersRepair): number[] {
  const fields = cells.flatMap((cell, index) => {
    if (cell.length === 0 || cell[0] === PLUS) return [];
    const { expiry, digest } = memberOfCell(cell);
    return observed.digests[index] === `${expiry}+${digest}` ? [] : [expiry];
  });
  // A temporary key has its expiry by the target's own clock.
  return [isBeside ? NO_EXPIRY : (expiry ?? NO_EXPIRY), ...fields];
}

export function unchanged(one: MembersReading, other: MembersReading): boolean {
  return (
    one.type === other.type &&
    sameExpiry(one.expiry, other.expiry) &&
    one.cells.length === other.cells.length &&
    one.cells.every((cell, index) => cell.equals(other.cells[index]!))
  );
}
