/**
 * One round of the protocol for named members of many keys: as `round.ts`, but neither reads nor
 * writes anything besides the members and the expiry, so that one wrong member in a million costs
 * what it costs in ten.
 *
 * Where members alone can't make the key equal (it is absent on one side, of another type, of a
 * type without members, or has more or fewer of the others), the whole key is asked for.
 *
 * Members that cost too much at once, for they are large or hard to find, are gone through in
 * parts, each of which is a round of its own.
 */
import {
  type MembersReading,
  type MembersRepair,
  type MembersState,
  NO_TYPE,
  RedisFailure,
  TEMPORARY_LIFETIME_MS,
  type TemporaryKey,
} from '../redis/index.js';
import type { Link, ReconcileOptions, Repaired } from './contract.js';
import { isSuddenlySmall, refuseShrinking } from './delete-guard.js';
import { type ExpiryTolerance, toleranceFor, tolerates } from './expiry-tolerance.js';
import { shortened } from './lifetime.js';
import { countsAgree, expiriesOf, expiryPairs, sameMember, unchanged } from './member-cells.js';
import { AGAIN, connectionsOf, failed, nextPart, type RoundResult } from './round.js';
import { withEarlier } from './rounds.js';
import { hasMembers } from './value-types.js';

/** Which part of a key to look at. No members: only its expiry. */
export interface MembersOf {
  readonly key: Buffer;
  readonly members: readonly Buffer[];
  /**
   * All members of the key are gone through, page by page. A key that the target lacks is made of
   * a page that `creates`; of one that `begins` only as long as nothing of it was written; never of
   * one that `adds`, for what earlier pages wrote has gone.
   */
  readonly page?: 'creates' | 'begins' | 'adds';
  /** Where they are put on the target, in the place of the key. */
  readonly beside?: TemporaryKey;
  /** As in `KeyRequest`. */
  readonly allowDelete?: boolean | undefined;
  /**
   * Of a key that is gone through, how many members the source had when that was begun:
   * `allowDelete` vouches for these. A source that has suddenly next to nothing was emptied since.
   */
  readonly vouchedCount?: number | undefined;
  /** As in `KeyTask`. */
  readonly signal?: AbortSignal | undefined;
}

/** `whole`: members alone can't tell; look at the whole key. */
type MembersResult =
  | RoundResult
  /** `repaired`: what was written all the same: with its last member the key went. */
  | { readonly outcome: 'whole'; readonly repaired?: Repaired };

interface Observed {
  readonly index: number;
  /** As asked for, or the part of it that was answered. */
  readonly request: MembersOf;
  /** Of these members, perhaps of further ones. */
  readonly observed: MembersState;
  /** Whether the part is the last. */
  readonly isLast: boolean;
}

interface Planned extends Observed {
  readonly reading: MembersReading;
  readonly repair: MembersRepair;
}

/** At most: it is less where they are large or hard to find. */
const MEMBERS_PER_PART = 1_000;

/** What the steps of a round share, as in `round.ts`. */
interface Round {
  readonly sides: Link;
  readonly options: ReconcileOptions;
  readonly results: MembersResult[];
}

/** How far a request has been gone through. */
interface Open {
  readonly index: number;
  readonly request: MembersOf;
  readonly repaired: Repaired | null;
}

/** @returns one result per request, in order */
export async function runMembersRound(
  sides: Link,
  requests: readonly MembersOf[],
  options: ReconcileOptions,
): Promise<MembersResult[]> {
  const results = new Array<MembersResult>(requests.length);
  let open: Open[] = requests.map((request, index) => ({ index, request, repaired: null }));
  while (open.length > 0) {
    const parts = await runPart(
      sides,
      open.map(({ request }) => request),
      options,
    );
    const unfinished: Open[] = [];
    for (const [position, { index, request, repaired }] of open.entries()) {
      const { result, done } = parts[position]!;
      const rest = request.members.slice(done);
      const goesOn = rest.length > 0 && (result.outcome === 'equal' || result.outcome === 'repaired');
      const next = { ...request, members: rest };
      if (goesOn) unfinished.push({ index, request: behind(next, result), repaired: sum(repaired, result) });
      else results[index] = withEarlierPart(result, repaired);
    }
    open = unfinished;
  }
  return results;
}

/** What is asked for behind a part with this result. */
function behind(request: MembersOf, { outcome }: MembersResult): MembersOf {
  return request.page === 'begins' && outcome === 'repaired' ? { ...request, page: 'adds' } : request;
}

function sum(earlier: Repaired | null, result: RoundResult): Repaired | null {
  if (result.outcome !== 'repaired') return earlier;
  return { ...result, bytes: result.bytes + (earlier?.bytes ?? 0) };
}

function withEarlierPart(result: MembersResult, earlier: Repaired | null): MembersResult {
  if (earlier === null) return result;
  if (result.outcome === 'whole') return { ...result, repaired: result.repaired ?? earlier };
  if (result.outcome === 'again') return { ...result, repaired: result.repaired ?? earlier };
  if (result.outcome === 'repaired') return sum(earlier, result)!;
  return withEarlier(result, earlier) as MembersResult;
}

/** One part of each request: its first members, and how many of them were gone through. */
async function runPart(
  sides: Link,
  requests: readonly MembersOf[],
  options: ReconcileOptions,
): Promise<{ result: MembersResult; done: number }[]> {
  const round: Round = { sides, options, results: new Array(requests.length) };
  const done = requests.map(({ members }) => members.length);
  let open = [...requests.keys()];
  // As in `round.ts`: no more is observed than was read at once, for an observation does not hold
  // for long.
  for (let size = open.length; open.length > 0; ) {
    const part = open.slice(0, size);
    const { planned, deferred, known, connections } = await readAndPlan(round, await observe(round, requests, part));
    for (const { index, request } of known) done[index] = request.members.length;
    const permitted = await guardMembers(round, planned);
    await confirm(round, await repair(round, permitted, connections), connections);
    open = [...deferred, ...open.slice(size)];
    size = nextPart(part.length, deferred.length);
  }
  return round.results.map((result, index) => ({ result, done: done[index]! }));
}

async function observe(round: Round, requests: readonly MembersOf[], indices: readonly number[]): Promise<Observed[]> {
  const asked = indices.map((index) => requests[index]!);
  const states = await round.sides.target.inspectMembers(
    asked.map(({ key, members, beside }) => ({
      key: beside?.name ?? key,
      members: members.slice(0, MEMBERS_PER_PART),
    })),
    // As in `round.ts`.
    { atMaster: true },
  );
  const observed: Observed[] = [];
  for (const [position, index] of indices.entries()) {
    const state = states[position]!;
    const request = requests[index]!;
    if (state instanceof RedisFailure) round.results[index] = failed(round.sides, state, 'target', 'read');
    else observed.push(firstOf({ index, request, observed: state, isLast: true }, state.digests.length));
  }
  return observed;
}

/** The same with its first members alone. */
function firstOf(key: Observed, count: number): Observed {
  if (count === key.request.members.length) return key;
  return {
    index: key.index,
    request: { ...key.request, members: key.request.members.slice(0, count) },
    observed: key.observed,
    isLast: false,
  };
}

async function readAndPlan(
  round: Round,
  observed: readonly Observed[],
): Promise<{ planned: Planned[]; deferred: number[]; known: Observed[]; connections: number }> {
  const { sides, options, results } = round;
  // Of before the read, as in `round.ts`.
  const connections = connectionsOf(sides);
  if (observed.length === 0) return { planned: [], deferred: [], known: [], connections };
  const readings = await sides.source.readMembers(observed.map(({ request }) => request));
  const known: (Observed & { reading: MembersReading })[] = [];
  const deferred: number[] = [];
  for (const [position, key] of observed.entries()) {
    const reading = readings[position]!;
    if (reading === 'deferred') deferred.push(key.index);
    else if (reading instanceof RedisFailure) results[key.index] = failed(sides, reading, 'source', 'read');
    else known.push({ ...firstOf(key, reading.cells.length), reading });
  }
  const pairs = known.flatMap(({ observed, reading }) => expiryPairs(observed, reading));
  const { key } = observed[0]!.request;
  const tolerance = await toleranceFor(sides.memory, key, options.expiryToleranceMs, pairs);
  const planned: Planned[] = [];
  for (const key of known) {
    const repair = plan(key, key.reading, tolerance);
    if (repair === 'equal' || repair === 'whole') {
      results[key.index] = { outcome: repair };
      continue;
    }
    const clocks = { source: key.reading.serverTimeMs, target: key.observed.serverTimeMs };
    const error = await shortened(
      sides.memory,
      key.request.key,
      expiriesOf(key.request.beside !== undefined, repair),
      clocks,
      options,
    );
    if (error !== null) results[key.index] = { outcome: 'failed', error };
    else planned.push({ ...key, repair });
  }
  return { planned, deferred, known, connections };
}

/** Large values alone come with counts so far apart: others are then looked at as a whole. */
async function guardMembers({ sides, options, results }: Round, planned: readonly Planned[]): Promise<Planned[]> {
  const guarded = planned.filter(({ request: { allowDelete, vouchedCount = 0 }, reading }) => {
    return allowDelete !== true || isSuddenlySmall(Math.abs(reading.count), vouchedCount, options.deleteGuard);
  });
  const sizes = guarded.map(({ request, observed, reading }) => ({
    key: request.key,
    onSource: Math.abs(reading.count),
    onTarget: Math.abs(observed.count),
  }));
  const errors = await refuseShrinking(sides, sizes, options.deleteGuard);
  for (const [position, { index }] of guarded.entries()) {
    const error = errors[position]!;
    if (error !== null) results[index] = { outcome: 'failed', error };
  }
  return planned.filter(({ index }) => results[index] === undefined);
}

/**
 * @param connections of the source, before it was read
 * @returns what was written
 */
async function repair(round: Round, planned: readonly Planned[], connections: number): Promise<Planned[]> {
  const { sides, results } = round;
  // In the moment before the write, as in `round.ts`.
  const wanted: Planned[] = [];
  for (const key of planned) {
    const isVoid = key.request.signal?.aborted || connectionsOf(sides) !== connections;
    if (isVoid) results[key.index] = AGAIN;
    else wanted.push(key);
  }
  const outcomes = wanted.length === 0 ? [] : await sides.target.repairMembers(wanted.map(({ repair }) => repair));
  const written: Planned[] = [];
  for (const [position, key] of wanted.entries()) {
    const outcome = outcomes[position]!;
    if (outcome instanceof RedisFailure) results[key.index] = failed(sides, outcome, 'target', 'write');
    else if (outcome === 'changed') results[key.index] = AGAIN;
    // The source has the key, so on the target more than these members is missing.
    else if (outcome === 'gone')
      results[key.index] = { outcome: 'whole', ...(key.observed.type !== NO_TYPE && { repaired: repaired(key) }) };
    else written.push(key);
  }
  return written;
}

/**
 * As in `round.ts`: a value that went and came back while the repair was on its way would pass the
 * fence.
 */
async function confirm(round: Round, written: readonly Planned[], connections: number): Promise<void> {
  const { sides, results } = round;
  for (let unread = written; unread.length > 0; ) {
    const readings = await sides.source.readMembers(unread.map(({ request }) => request));
    const deferred: Planned[] = [];
    for (const [position, key] of unread.entries()) {
      const reading = readings[position]!;
      if (reading === 'deferred') deferred.push(key);
      else if (reading instanceof RedisFailure) results[key.index] = failed(sides, reading, 'source', 'verify');
      else {
        const holds = connectionsOf(sides) === connections && unchanged(key.reading, reading);
        results[key.index] = holds ? repaired(key) : { outcome: 'again', repaired: repaired(key) };
      }
    }
    unread = deferred;
  }
}

function plan(
  { request, observed, isLast }: Observed,
  source: MembersReading,
  tolerance: ExpiryTolerance,
): MembersRepair | 'equal' | 'whole' {
  if (source.type === NO_TYPE) return 'whole';
  const mayCreate = request.page === 'creates' || request.page === 'begins';
  if (source.type !== observed.type && !(mayCreate && observed.type === NO_TYPE)) return 'whole';
  // Of a string that one side alone has made anew not even the length tells.
  if (!hasMembers(source.type) && (request.members.length > 0 || request.page === undefined)) return 'whole';
  // Of parts before the last, others are still to come.
  if (request.page === undefined && isLast && !countsAgree(observed, source)) return 'whole';
  const sameMembers = source.cells.every((cell, index) => sameMember(observed.digests[index]!, cell, tolerance));
  const tolerated = request.beside !== undefined || tolerates(tolerance, observed.expiry, source.expiry);
  if (sameMembers && tolerated) return 'equal';
  const { members, beside } = request;
  const repair = { members, observed, type: source.type, cells: source.cells };
  if (beside === undefined) return { ...repair, key: request.key, expiry: tolerated ? null : source.expiry };
  return { ...repair, key: beside.name, expiry: observed.serverTimeMs + TEMPORARY_LIFETIME_MS };
}

function repaired({ request, reading, repair }: Planned): Repaired {
  const bytes = repair.cells.reduce((sum, cell) => sum + cell.length - 1 - cell.indexOf('+'), 0);
  const action = request.members.length === 0 ? 'expiry' : 'members';
  return { outcome: 'repaired', action, type: reading.type, bytes };
}
