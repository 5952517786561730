/**
 * One round of the protocol for many whole keys at once:
 *
 * 1. observe the target, 2. read the source, 3. repair, fenced by what was observed, 4. look at the
 *    source once more.
 *
 * Why 4: the fence compares values, and a value can come back. The target holds A; the source
 * becomes B and is read; it becomes A again; both writes reach the target late, and before our
 * repair: B, A. The target is as observed, so the repair passes and leaves B under a source of A,
 * with no failed write to tell of it. But then the source is no longer what was read, and the key
 * gets another round. If it still is, all writes that came in between ended in that same value, on
 * both sides.
 */
import {
  type Change,
  LARGE,
  NO_EXPIRY,
  NO_TYPE,
  type ObservedState,
  type Reading,
  type Rebuild,
  type RebuildChange,
  type RecipeReading,
  RedisFailure,
  type Repair,
  type RepairOutcome,
} from '../redis/index.js';
import type { KeyDeferred, KeyResult, KeyTask, Link, LinkSides, ReconcileOptions, Repaired } from './contract.js';
import { decide } from './decide.js';
import { refuseDeletes } from './delete-guard.js';
import {
  type ReconcileError,
  reconcileError,
  refusesPayload,
  refusesVersion,
  type Side,
  type Stage,
} from './errors.js';
import { sameExpiry, toleranceFor } from './expiry-tolerance.js';
import { shortened } from './lifetime.js';

/**
 * `again`: the key changed meanwhile. `repaired` says what this round wrote all the same, `because`
 * what is to be said if no later round comes to an end either.
 */
export type RoundResult =
  | Exclude<KeyResult, KeyDeferred>
  | { readonly outcome: 'again'; readonly repaired: Repaired | null; readonly because?: ReconcileError };

export const AGAIN = { outcome: 'again', repaired: null } as const satisfies RoundResult;

interface Observed {
  readonly index: number;
  readonly request: KeyTask;
  readonly observed: ObservedState;
}

/**
 * How the source is asked for values: as its DUMP, or as commands for a target that can't read
 * that.
 */
type Form = 'dump' | 'recipe';

type AnyReading = Reading | RecipeReading;

interface Planned extends Observed {
  readonly reading: AnyReading;
  readonly change: Change | RebuildChange;
}

interface Written extends Planned {
  /** null: it had expired before it was there. */
  readonly repaired: Repaired | null;
  readonly expired: boolean;
  readonly isComparable: boolean;
}

/**
 * What the steps of a round share. Each settles the keys that need no further step and hands on the
 * others.
 */
interface Round {
  readonly link: Link;
  readonly requests: readonly KeyTask[];
  readonly options: ReconcileOptions;
  /** Of the keys that are settled, by the index of their request. */
  readonly results: RoundResult[];
}

/**
 * @returns one result per request, in order; `again` for what its signal has kept from being
 *   written
 */
export async function runRound(
  link: Link,
  requests: readonly KeyTask[],
  options: ReconcileOptions,
): Promise<RoundResult[]> {
  const round: Round = { link, requests, options, results: new Array(requests.length) };
  let open = [...requests.keys()];
  // An observation holds for a short time only: of what is left for a further read no more is
  // observed than was read at once.
  for (let size = open.length; ; ) {
    open = open.filter((index) => isWanted(round, index));
    if (open.length === 0) break;
    const part = open.slice(0, size);
    const observed = await observe(round, part);
    // Asked behind the observation, with which a new connection to the target may have come.
    const { refused, deferred } = await reconcile(round, observed, formOf(round));
    // The source is read anew, still after the target was observed; the fence is the same.
    const left = [...deferred, ...(await reconcile(round, refused, 'recipe')).deferred];
    open = [...left, ...open.slice(size)];
    size = nextPart(part.length, left.length);
  }
  return round.results;
}

/**
 * How many keys to observe next: as many as were read of the last part. Twice as many when nothing
 * was left of it, or one huge value would make all that follow it travel alone.
 */
export function nextPart(observed: number, left: number): number {
  return left === 0 ? 2 * observed : Math.max(1, observed - left);
}

/** A database has no DUMP of its rows. */
function formOf({ link, options }: Round): Form {
  return options.cache !== undefined || link.memory.needsRecipes ? 'recipe' : 'dump';
}

/** Whether the key was not given up yet; if it was, its round ends here. */
function isWanted({ requests, results }: Round, index: number): boolean {
  if (!requests[index]!.signal?.aborted) return true;
  results[index] = AGAIN;
  return false;
}

/**
 * @returns those whose dumps the target can't read, and the indices of those for which there was no
 *   room: the values read are held in memory until they are written, so the port bounds them
 */
async function reconcile(
  round: Round,
  keys: readonly Observed[],
  form: Form,
): Promise<{ refused: readonly Observed[]; deferred: readonly number[] }> {
  const { planned, deferred, connections } = await read(round, keys, form);
  const permitted = await guardDeletes(round, planned);
  const { written, refused } = await repair(round, permitted, connections);
  await confirm(round, written, connections);
  return { refused, deferred };
}

async function observe(round: Round, keys: readonly number[]): Promise<Observed[]> {
  const { link, requests, results } = round;
  const asked = keys.map((index) => requests[index]!.key);
  // A master that was demoted has its old data still, and may lack what its successor lacks: to be
  // equal to it says nothing.
  const states = await link.target.inspect(asked, { atMaster: true });
  const all: Observed[] = [];
  for (const [position, index] of keys.entries()) {
    const observed = states[position]!;
    if (observed instanceof RedisFailure) results[index] = failed(link, observed, 'target', 'read');
    else if (observed.digest === LARGE) results[index] = { outcome: 'large' };
    else all.push({ index, request: requests[index]!, observed });
  }
  return all;
}

async function read(
  round: Round,
  keys: readonly Observed[],
  form: Form,
): Promise<{ planned: Planned[]; deferred: number[]; connections: number }> {
  const { link, requests, options, results } = round;
  // Of before the read: that asks several times, or several servers, of which one may fail over
  // while another is waited for.
  const connections = connectionsOf(link);
  if (keys.length === 0) return { planned: [], deferred: [], connections };
  const asked = keys.map(({ request, observed }) => ({ key: request.key, known: observed }));
  const readings = await (form === 'dump' ? link.source.read(asked) : link.source.readRecipes(asked));
  const known: (Observed & { reading: AnyReading })[] = [];
  const deferred: number[] = [];
  for (const [position, key] of keys.entries()) {
    const reading = readings[position]!;
    if (reading === 'deferred') deferred.push(key.index);
    // What neither the target can read nor commands build: the target's version or modules are what
    // is to be mended.
    else if (reading instanceof RedisFailure && reading.code === 'NORECIPE')
      results[key.index] = failed(link, reading, 'target', 'write');
    // No one call can write it, as if it were large.
    else if (reading instanceof RedisFailure && reading.code === 'TOOLONG') results[key.index] = { outcome: 'large' };
    else if (reading instanceof RedisFailure) results[key.index] = failed(link, reading, 'source', 'read');
    else if (reading.digest === LARGE) results[key.index] = { outcome: 'large' };
    else known.push({ ...key, reading });
  }
  const present = await ofPresentVersion(round, known);
  const { cache } = options;
  const pairs =
    cache === undefined ? present.map((key) => ({ target: key.observed.expiry, source: key.reading.expiry })) : [];
  const tolerance = await toleranceFor(link.memory, requests[0]!.key, options.expiryToleranceMs, pairs);
  const planned: Planned[] = [];
  for (const key of present) {
    const decision = decide(key.observed, key.reading, tolerance, cache);
    if (decision === 'equal') {
      results[key.index] = { outcome: 'equal' };
      continue;
    }
    const expiries = cache === undefined ? newExpiries(key, decision) : [];
    // Most have none: for these nothing is awaited.
    const error = expiries.length === 0 ? null : await wouldShorten(round, key, expiries);
    if (error !== null) results[key.index] = { outcome: 'failed', error };
    else planned.push({ ...key, change: decision });
  }
  return { planned, deferred, connections };
}

/**
 * Tells a cache which versions the rows have, before anything is written: from here on nothing
 * older is filled in, and what was before is found by the look behind `settle`.
 * @returns those that are no older than what the cache knows of
 */
async function ofPresentVersion<Key extends { readonly index: number; readonly reading: AnyReading }>(
  round: Round,
  keys: Key[],
): Promise<Key[]> {
  const versions = keys.flatMap(({ index, reading }) => {
    const version = 'version' in reading ? reading.version : undefined;
    return version === undefined ? [] : [{ index, key: round.requests[index]!.key, version }];
  });
  if (versions.length === 0) return keys;
  const answers = await round.link.target.rememberVersions(versions);
  for (const [position, { index }] of versions.entries()) {
    const answer = answers[position]!;
    // A full target can keep no version; that is no reason to leave there what a delete takes away.
    if (answer instanceof RedisFailure && answer.code === 'OOM') continue;
    // Nothing of the key was written: where its server is out, the key waits.
    if (answer instanceof RedisFailure) round.results[index] = failed(round.link, answer, 'target', 'read');
    // The row may have been written since it was read, and is read anew.
    else if (answer === 'behind')
      round.results[index] = { ...AGAIN, because: reconcileError(OLD_ROW, 'source', 'read', round.link.source.place) };
  }
  return keys.filter(({ index }) => round.results[index] === undefined);
}

const OLD_ROW = new RedisFailure(
  'OLDROW',
  'answers with an older version of the row than the cache was told of: it lags, or the version went back; point the link at the primary itself',
);

/** Of the key and of its fields, as the change sets them. */
function newExpiries({ observed, reading }: Omit<Planned, 'change'>, change: Planned['change']): number[] {
  if (change.action === 'delete') return [];
  // The same expiry, written again, takes nothing away.
  const ofKey = sameExpiry(observed.expiry, change.expiry) ? NO_EXPIRY : change.expiry;
  const ofFields = change.action === 'expiry' ? NO_EXPIRY : reading.soonestFieldExpiry;
  return [ofKey, ofFields].filter((expiry) => expiry !== NO_EXPIRY);
}

async function wouldShorten(
  { link, options }: Round,
  { request, observed, reading }: Omit<Planned, 'change'>,
  expiries: readonly number[],
): Promise<ReconcileError | null> {
  const clocks = { source: reading.serverTimeMs, target: observed.serverTimeMs };
  return shortened(link.memory, request.key, expiries, clocks, options);
}

async function guardDeletes({ link, options, results }: Round, planned: Planned[]): Promise<Planned[]> {
  if (options.cache !== undefined) return planned;
  const guarded = planned.filter((key) => key.change.action === 'delete' && !isAllowedDelete(key));
  const keys = guarded.map(({ request }) => request.key);
  const errors = await refuseDeletes(link, keys, options.deleteGuard);
  for (const [position, { index }] of guarded.entries()) {
    const error = errors[position]!;
    if (error !== null) results[index] = { outcome: 'failed', error };
  }
  return planned.filter(({ index }) => results[index] === undefined);
}

/** @param connections of the source, before it was read */
async function repair(
  round: Round,
  planned: readonly Planned[],
  connections: number,
): Promise<{ written: Written[]; refused: Observed[] }> {
  const { link, results } = round;
  const written: Written[] = [];
  const refused: Observed[] = [];
  // In the moment before the write: another attempt may have found the key equal since, and another
  // master of the source may have vouched for what the old one, which had lost its data, has said.
  const wanted = planned.filter((key) => isWanted(round, key.index) && isOfPresentServer(round, key, connections));
  const outcomes = await write(link, wanted);
  for (const [position, key] of wanted.entries()) {
    const outcome = outcomes[position]!;
    if (outcome instanceof RedisFailure && refusesPayload(outcome)) {
      if (refusesVersion(outcome)) link.memory.payloadVersionRefused();
      refused.push(key);
    } else if (outcome instanceof RedisFailure) {
      results[key.index] = failed(link, outcome, 'target', 'write');
    } else if (outcome === 'changed') {
      results[key.index] = AGAIN;
    } else {
      const repaired = describeWrite(key, outcome);
      if (outcome === 'equal') results[key.index] = { outcome: 'equal' };
      else written.push({ ...key, repaired, expired: outcome === 'expired', isComparable: outcome !== 'incomparable' });
    }
  }
  return { written, refused };
}

/**
 * What a failure makes of a key's round. A write that was late has done nothing, and is made
 * again.
 */
export function failed(sides: LinkSides, failure: RedisFailure, side: Side, stage: Stage): RoundResult {
  const error = reconcileError(failure, side, stage, sides[side].place);
  if (failure.code === 'LATE') return { ...AGAIN, because: error };
  return { outcome: 'failed', error, ...(failure.refused.hasWritten && { wrote: true }) };
}

/** Of the source. The first one replaces no other: it counts before it is there. */
export function connectionsOf({ source }: LinkSides): number {
  return Math.max(1, source.connections);
}

/** By a person, who vouches for the first comparison alone: it is not to be lost by another one. */
function isAllowedDelete({ change, request }: Planned): boolean {
  return change.action === 'delete' && request.allowDelete === true;
}

/** Whether the server that was read answers still; if not, the key's round ends here. */
function isOfPresentServer({ link, options, results }: Round, key: Planned, connections: number): boolean {
  // What a cache lacks is read again, so a delete there needs nobody to vouch for it.
  if (options.cache !== undefined || isAllowedDelete(key) || connectionsOf(link) === connections) return true;
  results[key.index] = AGAIN;
  return false;
}

/** @returns one outcome for each, in order */
async function write({ target }: Link, planned: readonly Planned[]): Promise<(RepairOutcome | RedisFailure)[]> {
  const repairs: Repair[] = [];
  const rebuilds: Rebuild[] = [];
  for (const { request, observed, change } of planned) {
    if (change.action === 'rebuild') rebuilds.push({ key: request.key, observed, change });
    else repairs.push({ key: request.key, observed, change });
  }
  const repaired = repairs.length === 0 ? [] : await target.repair(repairs);
  const rebuilt = rebuilds.length === 0 ? [] : await target.rebuild(rebuilds);
  return planned.map(({ change }) => (change.action === 'rebuild' ? rebuilt : repaired).shift()!);
}

/** @param connections of the source, before it was read */
async function confirm(round: Round, written: readonly Written[], connections: number): Promise<void> {
  if (written.length === 0) return;
  const keys = written.map(({ request }) => request.key);
  const { source } = round.link;
  const isCache = round.options.cache !== undefined;
  const states = await source.inspect(keys, { atMaster: true });
  // Another master, after a failover, knows nothing of what happened at the one that was read.
  const isSameServer = connectionsOf(round.link) === connections;
  for (const [position, { index, reading, repaired, expired, isComparable }] of written.entries()) {
    const state = states[position]!;
    if (state instanceof RedisFailure) {
      round.results[index] = failed(round.link, state, 'source', 'verify');
    } else {
      const isAsRead = state.digest === reading.digest && (isCache || sameExpiry(state.expiry, reading.expiry));
      // What has expired at the target must be gone here as well.
      const holds = isSameServer && (expired ? state.type === NO_TYPE : isAsRead);
      if (!holds) round.results[index] = { outcome: 'again', repaired };
      else if (!isComparable) round.results[index] = incomparable(round.link, reading.type);
      else round.results[index] = repaired ?? { outcome: 'equal' };
    }
  }
}

/** Said once, instead of a repair each time that somebody looks. */
function incomparable({ target }: Link, type: string): RoundResult {
  const failure = new RedisFailure('INCOMPARABLE', `it dumps a ${type} otherwise than it was written`);
  return { outcome: 'failed', error: reconcileError(failure, 'target', 'verify', target.place), wrote: true };
}

/** @returns null when nothing was written */
function describeWrite(
  { observed, reading, change }: Planned,
  outcome: Exclude<RepairOutcome, 'changed'>,
): Repaired | null {
  switch (outcome) {
    case 'equal':
      return null;
    case 'restored':
    case 'incomparable':
      return { outcome: 'repaired', action: 'restored', type: reading.type, bytes: sizeOf(change) };
    case 'deleted':
      return { outcome: 'repaired', action: 'deleted', type: observed.type, bytes: 0 };
    case 'expiry':
      return { outcome: 'repaired', action: 'expiry', type: reading.type, bytes: 0 };
    case 'expired':
      // It expired on the way. Where there was nothing before, nothing has changed.
      if (observed.type === NO_TYPE) return null;
      return { outcome: 'repaired', action: 'deleted', type: observed.type, bytes: 0 };
  }
}

/** Of the value that a change carries, in bytes. */
function sizeOf(change: Change | RebuildChange): number {
  if (change.action === 'rebuild') return change.recipe.length;
  return change.action === 'restore' ? change.dump.length : 0;
}
