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
import type { KeyDeferred, KeyRequest, KeyResult, Link, ReconcileOptions, Repaired } from './contract.js';
import { decide } from './decide.js';
import { refuseDeletes } from './delete-guard.js';
import { reconcileError, refusesPayload, refusesVersion, type Side, type Stage } from './errors.js';
import { sameExpiry, toleranceFor } from './expiry-tolerance.js';

/** `again`: the key changed meanwhile. `repaired` says what this round wrote all the same. */
export type RoundResult =
  | Exclude<KeyResult, KeyDeferred>
  | { readonly outcome: 'again'; readonly repaired: Repaired | null };

interface Observed {
  readonly index: number;
  readonly request: KeyRequest;
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
  readonly repaired: Repaired;
}

/**
 * What the steps of a round share. Each settles the keys that need no further step and hands on the
 * others.
 */
interface Round {
  readonly link: Link;
  readonly requests: readonly KeyRequest[];
  readonly options: ReconcileOptions;
  /** Of the keys that are settled, by the index of their request. */
  readonly results: RoundResult[];
}

/** @returns one result per request, in order */
export async function runRound(
  link: Link,
  requests: readonly KeyRequest[],
  options: ReconcileOptions,
): Promise<RoundResult[]> {
  const round: Round = { link, requests, options, results: new Array(requests.length) };
  const observed = await observe(round);
  const refused = link.memory.needsRecipes ? observed : await reconcile(round, observed, 'dump');
  // The source is read anew, still after the target was observed; the fence is the same.
  await reconcile(round, refused, 'recipe');
  return round.results;
}

/** @returns the keys whose dumps the target can't read */
async function reconcile(round: Round, keys: readonly Observed[], form: Form): Promise<Observed[]> {
  const allRefused: Observed[] = [];
  let unread = keys;
  while (unread.length > 0) {
    round.options.signal?.throwIfAborted();
    // The values read are held in memory until they are written: the port bounds them and defers
    // the rest.
    const { planned, deferred } = await read(round, unread, form);
    const permitted = await guardDeletes(round, planned);
    const { written, refused } = await repair(round, permitted);
    await confirm(round, written);
    allRefused.push(...refused);
    unread = deferred;
    if (form === 'dump' && round.link.memory.needsRecipes) return [...allRefused, ...unread];
  }
  return allRefused;
}

async function observe(round: Round): Promise<Observed[]> {
  const { link, requests, results } = round;
  const states = await link.target.inspect(requests.map(({ key }) => key));
  const all: Observed[] = [];
  for (const [index, request] of requests.entries()) {
    const observed = states[index]!;
    if (observed instanceof RedisFailure) fail(round, index, observed, 'target', 'read');
    else if (observed.digest === LARGE) results[index] = { outcome: 'large' };
    else all.push({ index, request, observed });
  }
  return all;
}

async function read(
  round: Round,
  keys: readonly Observed[],
  form: Form,
): Promise<{ planned: Planned[]; deferred: Observed[] }> {
  const { link, requests, options, results } = round;
  const asked = keys.map(({ request, observed }) => ({ key: request.key, known: observed }));
  const readings = await (form === 'dump' ? link.source.read(asked) : link.source.readRecipes(asked));
  const known: (Observed & { reading: AnyReading })[] = [];
  const deferred: Observed[] = [];
  for (const [position, key] of keys.entries()) {
    const reading = readings[position]!;
    if (reading === 'deferred') deferred.push(key);
    // What neither the target can read nor commands build: the target's version or modules are what
    // is to be mended.
    else if (reading instanceof RedisFailure && reading.code === 'NORECIPE')
      fail(round, key.index, reading, 'target', 'write');
    else if (reading instanceof RedisFailure) fail(round, key.index, reading, 'source', 'read');
    else if (reading.digest === LARGE) results[key.index] = { outcome: 'large' };
    else known.push({ ...key, reading });
  }
  const pairs = known.map(({ observed, reading }) => ({ target: observed.expiry, source: reading.expiry }));
  const tolerance = await toleranceFor(link.memory, requests[0]!.key, options.expiryToleranceMs, pairs);
  const planned: Planned[] = [];
  for (const key of known) {
    const decision = decide(key.observed, key.reading, tolerance);
    if (decision === 'equal') results[key.index] = { outcome: 'equal' };
    else planned.push({ ...key, change: decision });
  }
  return { planned, deferred };
}

async function guardDeletes({ link, options, results }: Round, planned: Planned[]): Promise<Planned[]> {
  const needsGuard = ({ change, request }: Planned) => change.action === 'delete' && request.allowDelete !== true;
  const guarded = planned.filter(needsGuard);
  const keys = guarded.map(({ request }) => request.key);
  const errors = await refuseDeletes(link, keys, options.deleteGuard);
  for (const [position, { index }] of guarded.entries()) {
    const error = errors[position]!;
    if (error !== null) results[index] = { outcome: 'failed', error };
  }
  return planned.filter(({ index }) => results[index] === undefined);
}

async function repair(round: Round, planned: readonly Planned[]): Promise<{ written: Written[]; refused: Observed[] }> {
  const { link, results } = round;
  const outcomes = await write(link, planned);
  const written: Written[] = [];
  const refused: Observed[] = [];
  for (const [position, key] of planned.entries()) {
    const outcome = outcomes[position]!;
    if (outcome instanceof RedisFailure && refusesPayload(outcome)) {
      if (refusesVersion(outcome)) link.memory.payloadVersionRefused();
      refused.push(key);
    } else if (outcome instanceof RedisFailure) {
      fail(round, key.index, outcome, 'target', 'write');
    } else if (outcome === 'changed') {
      results[key.index] = { outcome: 'again', repaired: null };
    } else {
      const repaired = describeWrite(key, outcome);
      if (repaired === null) results[key.index] = { outcome: 'equal' };
      else written.push({ ...key, repaired });
    }
  }
  return { written, refused };
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

async function confirm(round: Round, written: readonly Written[]): Promise<void> {
  if (written.length === 0) return;
  const keys = written.map(({ request }) => request.key);
  const states = await round.link.source.inspect(keys, { atMaster: true });
  for (const [position, { index, reading, repaired }] of written.entries()) {
    const state = states[position]!;
    if (state instanceof RedisFailure) {
      fail(round, index, state, 'source', 'verify');
    } else {
      const holds = state.digest === reading.digest && sameExpiry(state.expiry, reading.expiry);
      round.results[index] = holds ? repaired : { outcome: 'again', repaired };
    }
  }
}

function fail({ link, results }: Round, index: number, failure: RedisFailure, side: Side, stage: Stage): void {
  results[index] = { outcome: 'failed', error: reconcileError(failure, side, stage, link[side].place) };
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
