/** Many keys at once: rounds until each is settled, in batches that one call can carry. */
import pMap from 'p-map';
import { isOwnKey } from '../own-keys.js';
import { type AdmissionRequest, RedisFailure } from '../redis/index.js';
import type { KeyDeferred, KeyRequest, KeyResult, Link, LinkSides, ReconcileOptions, Repaired } from './contract.js';
import { reconcileError, reservedKey } from './errors.js';
import { LinkMemory } from './link-memory.js';
import { runMembersRound } from './members.js';
import { AGAIN, type RoundResult, runRound } from './round.js';
import { contended, healing, MAXIMUM_ROUNDS, PAUSES, restAfter, withEarlier } from './rounds.js';
import { WHOLE } from './scope.js';

/** So few that a batch of small keys needs no second read for the work it makes. */
const BATCH_SIZE = 250;
/**
 * So that both servers have work while a batch is decoded here. Each holds up to about 4 MiB of
 * values.
 */
const CONCURRENT_BATCHES = 8;

interface OpenKey {
  readonly index: number;
  readonly request: KeyRequest;
  /** What an earlier round wrote, after which the key changed once more. */
  readonly repaired: Repaired | null;
}

/**
 * Makes keys on the target equal to the source. See `round.ts` for the protocol and why it is
 * right. Idempotent: running it twice, late or concurrently with itself does no harm.
 * @returns one result per request, in order. A key's failure is its result and never rejects
 * @throws the signal's reason when it aborts; nothing is written then but to keys that were written
 *   before and have changed since, within `HEALING_MS`
 */
export async function reconcileKeys(
  sides: LinkSides,
  requests: readonly KeyRequest[],
  options: ReconcileOptions,
): Promise<KeyResult[]> {
  const link = { memory: new LinkMemory(sides), ...sides };
  const results = new Array<KeyResult>(requests.length);
  const reconcilePart = async (batch: readonly number[]) => {
    const asked = batch.map((index) => requests[index]!);
    const ofBatch = await reconcileBatch(link, asked, options);
    for (const [position, index] of batch.entries()) results[index] = ofBatch[position]!;
  };
  for (const [index, { key }] of requests.entries()) if (isOwnKey(key)) results[index] = reservedKey();
  await pMap(await batches(sides, requests), reconcilePart, { concurrency: CONCURRENT_BATCHES });
  return results;
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

async function reconcileBatch(
  sides: Link,
  requests: readonly KeyRequest[],
  options: ReconcileOptions,
): Promise<KeyResult[]> {
  const results = new Array<KeyResult>(requests.length);
  let mending: AbortSignal | undefined;
  let open: OpenKey[] = requests.map((request, index) => ({ index, request, repaired: null }));
  for (let round = 1; open.length > 0 && round <= MAXIMUM_ROUNDS; round++) {
    if (round > 1) await restAfter(round - 1, PAUSES.small, mending ?? options.signal);
    mending?.throwIfAborted();
    // Once it is given up, only what was written and has changed since is still looked after.
    if (!open.some(wasWritten)) options.signal?.throwIfAborted();
    const changed: OpenKey[] = [];
    for (const [keys, signal] of [
      [open.filter((key) => !wasWritten(key)), options.signal],
      [open.filter(wasWritten), mending],
    ] as const) {
      const asked = keys.map(({ request }) => request);
      const outcomes = await admittedRound(sides, asked, { ...options, signal });
      for (const [position, key] of keys.entries()) {
        const outcome = outcomes[position]!;
        if (outcome.outcome === 'again') changed.push(asChanged(key, outcome.repaired));
        else results[key.index] = withEarlier(outcome, key.repaired);
      }
    }
    open = changed;
    if (open.some(wasWritten)) mending ??= healing(options.signal);
  }
  if (!open.every(wasWritten)) options.signal?.throwIfAborted();
  for (const { index, repaired } of open) results[index] = contended(sides, repaired);
  return results;
}

function wasWritten({ repaired }: OpenKey): boolean {
  return repaired !== null;
}

/** A confirmation vouches for one comparison: by the next the source may have been emptied. */
function asChanged(key: OpenKey, repaired: Repaired | null): OpenKey {
  return { ...key, request: { ...key.request, allowDelete: false }, repaired: repaired ?? key.repaired };
}

/**
 * One round in as many parts as the target admits; those that it does not admit now are deferred
 * together.
 */
async function admittedRound(
  sides: Link,
  requests: readonly KeyRequest[],
  options: ReconcileOptions,
): Promise<(RoundResult | KeyDeferred)[]> {
  const results: (RoundResult | KeyDeferred)[] = [];
  while (results.length < requests.length) {
    const rest = requests.slice(results.length);
    if (options.signal?.aborted) return [...results, ...rest.map(() => AGAIN)];
    const admission = await sides.target.admit(rest.map(admissionRequest));
    if (admission instanceof RedisFailure) {
      const error = reconcileError(admission, 'target', 'read', sides.target.place);
      return [...results, ...rest.map(() => ({ outcome: 'failed', error }) as const)];
    }
    if (admission.kind === 'deferred') {
      const { retryAfterMs } = admission;
      return [...results, ...rest.map(() => ({ outcome: 'deferred', retryAfterMs, repaired: null }) as const)];
    }
    try {
      const admitted = { ...sides, target: admission.port };
      results.push(...(await roundOfAnyScope(admitted, rest.slice(0, admission.keys), options)));
    } finally {
      admission.done();
    }
  }
  return results;
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
  requests: readonly KeyRequest[],
  options: ReconcileOptions,
): Promise<RoundResult[]> {
  const results = new Array<RoundResult>(requests.length);
  const whole: { readonly index: number; readonly repaired: Repaired | null }[] = [];
  const parts: { index: number; key: Buffer; members: readonly Buffer[] }[] = [];
  for (const [index, { key, scope = WHOLE }] of requests.entries()) {
    if (scope.kind === 'whole') whole.push({ index, repaired: null });
    else parts.push({ index, key, members: scope.members });
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
