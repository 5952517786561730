/** Many keys at once: rounds until each has ended, in batches that one call can carry. */
import pMap from 'p-map';
import { isOwnKey } from '../own-keys.js';
import { type AdmissionRequest, type Deferred, looksOut, RedisFailure } from '../redis/index.js';
import type {
  GivenUp,
  KeyDeferred,
  KeyRequest,
  KeyResult,
  KeyTask,
  Link,
  LinkSides,
  ReconcileOptions,
  Repaired,
} from './contract.js';
import { type ReconcileError, reconcileError, reservedKey } from './errors.js';
import { LinkMemory } from './link-memory.js';
import { type MembersOf, runMembersRound } from './members.js';
import { AGAIN, type RoundResult, runRound } from './round.js';
import { contended, healing, MAXIMUM_ROUNDS, PAUSES, restAfter, withEarlier } from './rounds.js';
import { WHOLE } from './scope.js';

/** So few that a batch of small keys needs no second read for the work it makes. */
const BATCH_SIZE = 250;
/**
 * So that both servers have work while a batch is decoded here. Each holds up to about 4 MiB of
 * values.
 */
const CONCURRENT_BATCHES = 16;

const GIVEN_UP: GivenUp = { outcome: 'given-up' };

interface OpenKey {
  readonly index: number;
  readonly request: KeyRequest;
  /** Once the key was written, that of the rounds after it. */
  readonly signal: AbortSignal | undefined;
  /** What an earlier round wrote, after which the key changed once more. */
  readonly repaired: Repaired | null;
  /** Why the last round came to no end, where that is known. */
  readonly because?: ReconcileError | undefined;
}

/** Told once of each key, by the index of its request, as soon as it has ended. Must not throw. */
type Tell = (index: number, result: KeyResult | GivenUp) => void;

/**
 * Makes keys on the target equal to the source. See `round.ts` for the protocol and why it is
 * right. Idempotent: running it twice, late or concurrently with itself does no harm.
 * @returns one result per request, in order. A key's failure is its result and never rejects
 * @throws the signal's reason when it aborts, unless each key has ended; nothing is written then
 *   but to keys that were written before and have changed since, within `HEALING_MS`: one that
 *   still changes has failed
 */
export async function reconcileKeys(
  sides: LinkSides,
  requests: readonly KeyRequest[],
  { signal, ...options }: ReconcileOptions,
): Promise<KeyResult[]> {
  const results = new Array<KeyResult>(requests.length);
  const tasks = signal === undefined ? requests : requests.map((request) => ({ ...request, signal }));
  await reconcileEach(sides, tasks, options, (index, result) => {
    if (result.outcome !== 'given-up') results[index] = result;
  });
  if (results.includes(undefined as never)) throw signal!.reason;
  return results;
}

/**
 * The same for keys of which each is told of at its own end, and may be given up alone: one that
 * needs further rounds holds up no other.
 */
export async function reconcileEach(
  sides: LinkSides,
  tasks: readonly KeyTask[],
  options: Omit<ReconcileOptions, 'signal'>,
  tell: Tell,
): Promise<void> {
  const link = { memory: new LinkMemory(sides), ...sides };
  const reconcilePart = (batch: readonly number[]) =>
    eachOfBatch(
      link,
      batch.map((index) => tasks[index]!),
      options,
      (position, result) => tell(batch[position]!, result),
    );
  for (const [index, { key }] of tasks.entries()) if (isOwnKey(key)) tell(index, reservedKey());
  await pMap(await batches(sides, tasks), reconcilePart, { concurrency: CONCURRENT_BATCHES });
}

/**
 * Puts keys into batches by the two servers that have them, one on each side. So a batch waits for
 * no other server, which may be slow or dead, and one budget and one clock offset hold for all of
 * its keys.
 * @returns indices of the requests that are not for keys of our own
 */
async function batches({ source, target }: LinkSides, requests: readonly KeyRequest[]): Promise<number[][]> {
  const keys = requests.map(({ key }) => key);
  const [ofSource, ofTarget] = await Promise.all([source.shardsOf(keys), target.shardsOf(keys)]);
  const open = new Map<string, number[]>();
  const all: number[][] = [];
  for (const [index, key] of keys.entries()) {
    if (isOwnKey(key)) continue;
    const servers = `${ofSource[index]} ${ofTarget[index]}`;
    let batch = open.get(servers);
    if (batch === undefined || batch.length === BATCH_SIZE) {
      batch = [];
      open.set(servers, batch);
      all.push(batch);
    }
    batch.push(index);
  }
  return all;
}

async function eachOfBatch(
  sides: Link,
  tasks: readonly KeyTask[],
  options: ReconcileOptions,
  tell: Tell,
): Promise<void> {
  let open: OpenKey[] = tasks.map(({ signal, ...request }, index) => ({ index, request, signal, repaired: null }));
  for (let round = 1; open.length > 0 && round <= MAXIMUM_ROUNDS; round++) {
    if (round > 1) await restAfter(round - 1, PAUSES.small, undefined);
    const wanted = open.filter(({ signal }) => !signal?.aborted);
    for (const key of open) {
      if (wanted.includes(key)) continue;
      // What was written and not seen to hold is work that is left, whoever waits for it.
      tell(key.index, key.repaired === null ? GIVEN_UP : contended(sides, key.repaired, round - 1));
    }
    const asked = wanted.map(({ request, signal }) => (signal === undefined ? request : { ...request, signal }));
    const outcomes = await admittedRound(sides, asked, options);
    open = [];
    for (const [position, key] of wanted.entries()) {
      const outcome = outcomes[position]!;
      if (outcome.outcome === 'again') open.push({ ...asChanged(key, outcome.repaired), because: outcome.because });
      else tell(key.index, withEarlier(outcome, key.repaired));
    }
  }
  for (const { index, signal, repaired, because } of open) {
    const error = because && ({ outcome: 'failed', error: because, wrote: repaired !== null } as const);
    tell(
      index,
      repaired === null && signal?.aborted ? GIVEN_UP : (error ?? contended(sides, repaired, MAXIMUM_ROUNDS)),
    );
  }
}

/** A confirmation vouches for one comparison: by the next the source may have been emptied. */
function asChanged(key: OpenKey, repaired: Repaired | null): OpenKey {
  const request = { ...key.request, allowDelete: false };
  if (repaired === null || key.repaired !== null) return { ...key, request, repaired: repaired ?? key.repaired };
  // Once it is given up, what was written and has changed since is still looked after.
  return { ...key, request, repaired, signal: healing(key.signal) };
}

/**
 * One round in as many parts as the target admits; those that it does not admit now are deferred
 * together.
 */
async function admittedRound(
  sides: Link,
  tasks: readonly KeyTask[],
  options: ReconcileOptions,
): Promise<(RoundResult | KeyDeferred)[]> {
  const results = new Array<RoundResult | KeyDeferred>(tasks.length).fill(AGAIN);
  const endAll = (indices: readonly number[], result: RoundResult | KeyDeferred) => {
    for (const index of indices) results[index] = result;
  };
  for (let rest = [...tasks.keys()]; ; ) {
    rest = rest.filter((index) => !tasks[index]!.signal?.aborted);
    if (rest.length === 0) break;
    const requests = rest.map((index) => admissionRequest(tasks[index]!));
    const admission = await sides.target.admit(requests, turnsOf(requests, options));
    if (admission instanceof RedisFailure) {
      const error = reconcileError(admission, 'target', 'read', sides.target.place);
      endAll(rest, { outcome: 'failed', error });
      break;
    }
    if (admission.kind === 'deferred') {
      endAll(rest, deferred(admission));
      break;
    }
    try {
      const admitted = rest.slice(0, admission.keys);
      const asked = admitted.map((index) => tasks[index]!);
      const ended = await roundOfAnyScope({ ...sides, target: admission.port }, asked, options);
      for (const [position, index] of admitted.entries()) results[index] = ended[position]!;
      rest = rest.slice(admission.keys);
    } finally {
      admission.done();
    }
  }
  await deferOutage(sides, tasks, results, options);
  return results;
}

function deferred({ retryAfterMs, outage }: Deferred): KeyDeferred {
  return { outcome: 'deferred', retryAfterMs, outage, repaired: null };
}

/**
 * Keys that failed before anything was written, because the target's server does not answer at all,
 * have not failed: they wait. All of them are of one server.
 */
async function deferOutage(
  { target }: Link,
  tasks: readonly KeyTask[],
  results: (RoundResult | KeyDeferred)[],
  options: ReconcileOptions,
): Promise<void> {
  const failed = [...results.keys()].filter((index) => mayBeOutage(results[index]!));
  if (failed.length === 0) return;
  const keys = failed.map((index) => tasks[index]!.key);
  const waits = await target.outage(keys, turnsOf(keys, options));
  if (waits !== null) for (const index of failed) results[index] = deferred(waits);
}

const OF_TARGET: ReadonlySet<string> = new Set(['TargetUnavailable', 'TargetLoading']);

/** Not where the target may have been written. */
function mayBeOutage(result: RoundResult | KeyDeferred): boolean {
  if (result.outcome !== 'failed' || result.wrote) return false;
  const { type, stage, cause } = result.error;
  return OF_TARGET.has(type) && stage === 'read' && cause instanceof RedisFailure && looksOut(cause);
}

function admissionRequest({ key, scope = WHOLE }: KeyRequest): AdmissionRequest {
  return { key, members: scope.kind === 'whole' ? 0 : scope.members.length };
}

/**
 * The requests by scope, each kind in calls of its own; those whose part tells too little are
 * looked at as a whole at once.
 */
async function roundOfAnyScope(
  sides: Link,
  requests: readonly KeyTask[],
  options: ReconcileOptions,
): Promise<RoundResult[]> {
  const results = new Array<RoundResult>(requests.length);
  const whole: { readonly index: number; readonly repaired: Repaired | null }[] = [];
  const parts: (MembersOf & { readonly index: number })[] = [];
  for (const [index, { key, scope = WHOLE, signal, allowDelete }] of requests.entries()) {
    if (scope.kind === 'whole' || options.cache !== undefined) whole.push({ index, repaired: null });
    else parts.push({ index, key, members: scope.members, signal, allowDelete });
  }
  const ofParts = parts.length === 0 ? [] : await runMembersRound(sides, parts, options);
  for (const [position, { index }] of parts.entries()) {
    const result = ofParts[position]!;
    if (result.outcome === 'whole') whole.push({ index, repaired: result.repaired ?? null });
    else results[index] = result;
  }
  const wholeRequests = whole.map(({ index }) => requests[index]!);
  const ofWhole = whole.length === 0 ? [] : await runRound(sides, wholeRequests, options);
  for (const [position, { index, repaired }] of whole.entries()) {
    const result = ofWhole[position]!;
    // What was written on the way to the whole key is not forgotten, also where it must be mended.
    results[index] =
      result.outcome === 'again'
        ? { ...result, repaired: result.repaired ?? repaired }
        : (withEarlier(result, repaired) as RoundResult);
  }
  return results;
}

/** Of what comes again as one so many take one turn, in however many parts they are asked for. */
const KEYS_OF_A_TURN = 1_000;

function turnsOf(keys: readonly unknown[], { comesAsOne }: ReconcileOptions): number {
  return comesAsOne ? keys.length / KEYS_OF_A_TURN : keys.length;
}
