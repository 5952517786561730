/**
 * One round of the protocol for named members of many keys: as `round.ts`, but neither reads nor
 * writes anything besides the members and the expiry, so that one wrong member in a million costs
 * what it costs in ten.
 *
 * Where members alone can't make the key equal (it is absent on one side, of another type, or has
 * more or fewer of the others), the whole key is asked for.
 */
import { createHash } from 'node:crypto';
import {
  type MembersReading,
  type MembersRepair,
  type MembersState,
  NO_EXPIRY,
  NO_TYPE,
  RedisFailure,
  TEMPORARY_LIFETIME_MS,
  type TemporaryKey,
} from '../redis/index.js';
import type { Link, LinkSides, ReconcileOptions, Repaired } from './contract.js';
import { reconcileError, type Side, type Stage } from './errors.js';
import { type ExpiryTolerance, sameExpiry, toleranceFor, tolerates } from './expiry-tolerance.js';
import { shortened } from './lifetime.js';
import { AGAIN, type RoundResult } from './round.js';
import { hasMembers } from './value-types.js';

/** Which part of a key to look at. No members: only its expiry. */
interface MembersOf {
  readonly key: Buffer;
  readonly members: readonly Buffer[];
  /**
   * All members of the key are gone through, call by call: a key that the target lacks is made of
   * them.
   */
  readonly creates?: boolean;
  /** Where they are put on the target, in the place of the key. */
  readonly beside?: TemporaryKey;
}

/** `whole`: members alone can't tell; look at the whole key. */
type MembersResult =
  | RoundResult
  /** `repaired`: what was written all the same: with its last member the key went. */
  | { readonly outcome: 'whole'; readonly repaired?: Repaired };

interface Observed {
  readonly index: number;
  readonly request: MembersOf;
  readonly observed: MembersState;
}

interface Planned extends Observed {
  readonly reading: MembersReading;
  readonly repair: MembersRepair;
}

const PLUS = 0x2b;

/** @returns one result per request, in order */
export async function runMembersRound(
  sides: Link,
  requests: readonly MembersOf[],
  options: ReconcileOptions,
): Promise<MembersResult[]> {
  const results = new Array<MembersResult>(requests.length);
  const fail = (index: number, failure: RedisFailure, side: Side, stage: Stage) => {
    results[index] = { outcome: 'failed', error: reconcileError(failure, side, stage, sides[side].place) };
  };

  const states = await sides.target.inspectMembers(
    requests.map(({ key, members, beside }) => ({ key: beside?.name ?? key, members })),
  );
  const observed: Observed[] = [];
  for (const [index, request] of requests.entries()) {
    const state = states[index]!;
    if (state instanceof RedisFailure) fail(index, state, 'target', 'read');
    else observed.push({ index, request, observed: state });
  }

  const readings = await read(sides, observed);
  const { connections } = sides.source;
  const pairs = observed.flatMap(({ observed }, position) => expiryPairs(observed, readings[position]!));
  const tolerance = await toleranceFor(sides.memory, requests[0]!.key, options.expiryToleranceMs, pairs);
  const planned: Planned[] = [];
  for (const [position, key] of observed.entries()) {
    const reading = readings[position]!;
    if (reading instanceof RedisFailure) {
      fail(key.index, reading, 'source', 'read');
      continue;
    }
    const repair = plan(key, reading, tolerance);
    if (repair === 'equal' || repair === 'whole') {
      results[key.index] = { outcome: repair };
      continue;
    }
    const clocks = { source: reading.serverTimeMs, target: key.observed.serverTimeMs };
    const error = await shortened(sides.memory, key.request.key, expiriesOf(repair), clocks, options);
    if (error !== null) results[key.index] = { outcome: 'failed', error };
    else planned.push({ ...key, reading, repair });
  }

  const written: Planned[] = [];
  // In the moment before the write, as in `round.ts`.
  if (options.signal?.aborted) {
    for (const { index } of planned.splice(0)) results[index] = AGAIN;
  }
  const outcomes = planned.length === 0 ? [] : await sides.target.repairMembers(planned.map(({ repair }) => repair));
  for (const [position, key] of planned.entries()) {
    const outcome = outcomes[position]!;
    if (outcome instanceof RedisFailure) fail(key.index, outcome, 'target', 'write');
    else if (outcome === 'changed') results[key.index] = AGAIN;
    // The source has the key, so on the target more than these members is missing.
    else if (outcome === 'gone')
      results[key.index] = { outcome: 'whole', ...(key.observed.type !== NO_TYPE && { repaired: repaired(key) }) };
    else written.push(key);
  }

  // As in `round.ts`: a value that went and came back while the repair was on its way would pass
  // the fence.
  const confirmed = await read(sides, written);
  const isSameServer = sides.source.connections === connections;
  for (const [position, key] of written.entries()) {
    const reading = confirmed[position]!;
    if (reading instanceof RedisFailure) fail(key.index, reading, 'source', 'verify');
    else
      results[key.index] =
        isSameServer && unchanged(key.reading, reading) ? repaired(key) : { outcome: 'again', repaired: repaired(key) };
  }
  return results;
}

async function read({ source }: LinkSides, keys: readonly Observed[]): Promise<(MembersReading | RedisFailure)[]> {
  return keys.length === 0 ? [] : source.readMembers(keys.map(({ request }) => request));
}

function plan(
  { request, observed }: Observed,
  source: MembersReading,
  tolerance: ExpiryTolerance,
): MembersRepair | 'equal' | 'whole' {
  if (source.type === NO_TYPE) return 'whole';
  if (source.type !== observed.type && !(request.creates && observed.type === NO_TYPE)) return 'whole';
  if (request.members.length > 0 && !hasMembers(source.type)) return 'whole';
  if (!request.creates && !countsAgree(observed, source)) return 'whole';
  const sameMembers = source.cells.every((cell, index) => sameMember(observed.digests[index]!, cell, tolerance));
  const tolerated = request.beside !== undefined || tolerates(tolerance, observed.expiry, source.expiry);
  if (sameMembers && tolerated) return 'equal';
  const { members, beside } = request;
  const repair = { members, observed, type: source.type, cells: source.cells };
  if (beside === undefined) return { ...repair, key: request.key, expiry: tolerated ? null : source.expiry };
  return { ...repair, key: beside.name, expiry: observed.serverTimeMs + TEMPORARY_LIFETIME_MS };
}

/**
 * Whether both sides have equally many elements once the named members are equal. If not, they
 * differ elsewhere: as where a key expired on one side alone and was made anew. In a large value
 * that is no surprise, for other failed writes may be on their way here, and looking at all of it
 * for each of them would be too much.
 */
function countsAgree(observed: MembersState, source: MembersReading): boolean {
  if (observed.count < 0 || source.count < 0) return true;
  const wanted = source.cells.filter((cell) => cell.length > 0).length;
  const present = observed.digests.filter((digest) => digest !== '').length;
  return observed.count + wanted - present === source.count;
}

/**
 * A member's own expiry, `NO_EXPIRY` for one that has none, and the digest of its value; of a cell
 * or a digest of the port.
 */
interface Member {
  readonly expiry: number;
  readonly digest: string;
}

function sameMember(digest: string, cell: Buffer, tolerance: ExpiryTolerance): boolean {
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
function expiryPairs(
  target: MembersState,
  source: MembersReading | RedisFailure,
): { target: number; source: number }[] {
  if (source instanceof RedisFailure) return [];
  const fields = source.cells.flatMap((cell, index) => {
    const digest = target.digests[index]!;
    // Most cells begin with the `+` at once.
    if (cell.length === 0 || digest === '' || cell[0] === PLUS || digest.startsWith('+')) return [];
    return [{ target: memberOfDigest(digest).expiry, source: expiryOf(cell.toString('latin1', 0, cell.indexOf('+'))) }];
  });
  return [{ target: target.expiry, source: source.expiry }, ...fields];
}

/** All that the repair sets. */
function expiriesOf({ observed, cells, expiry }: MembersRepair): number[] {
  const fields = cells.flatMap((cell, index) => {
    if (cell.length === 0 || cell[0] === PLUS) return [];
    const { expiry, digest } = memberOfCell(cell);
    return observed.digests[index] === `${expiry}+${digest}` ? [] : [expiry];
  });
  return [expiry ?? NO_EXPIRY, ...fields];
}

function unchanged(one: MembersReading, other: MembersReading): boolean {
  return (
    one.type === other.type &&
    sameExpiry(one.expiry, other.expiry) &&
    one.cells.every((cell, index) => cell.equals(other.cells[index]!))
  );
}

function repaired({ request, reading, repair }: Planned): Repaired {
  const bytes = repair.cells.reduce((sum, cell) => sum + cell.length - 1 - cell.indexOf('+'), 0);
  const action = request.members.length === 0 ? 'expiry' : 'members';
  return { outcome: 'repaired', action, type: reading.type, bytes };
}
