/** One page of keys: which of them have to be looked at one by one. */

import { type LinkMemory, reconcileError, type Side, toleranceFor, tolerates } from '../engine/index.js';
import { type PageDigest, RedisFailure } from '../redis/index.js';
import type { Keyspaces } from './parts.js';

export interface Sides extends Keyspaces {
  readonly memory: LinkMemory;
}

/**
 * Compares keys of one server of the source as a whole: both sides digest the same keys at the same
 * time, those of each master of the target together.
 * @param digest what the source said of the first of them already; null: nothing
 * @returns those that may differ, and those that are too large for a digest
 * @throws ReconcileError where a side can't be asked
 */
export async function differingOfPage(
  sides: Sides,
  keys: readonly Buffer[],
  digest: PageDigest | null,
  expiryToleranceMs: number,
): Promise<Buffer[]> {
  const groups = await byServer(sides, 'target', keys);
  const work = groups.map((group) =>
    differingOfGroup(sides, group, groups.length === 1 ? digest : null, expiryToleranceMs),
  );
  return (await Promise.all(work)).flat();
}

/**
 * @param type what is of another one on the source counts as absent; undefined: any
 * @throws ReconcileError where the source can't be asked
 */
export async function absentOnSource(sides: Sides, keys: readonly Buffer[], type?: string): Promise<Buffer[]> {
  const groups = await byServer(sides, 'source', keys);
  const absent = groups.map(async (group) => answered(sides, 'source', await sides.source.absentKeys(group, type)));
  return (await Promise.all(absent)).flat();
}

async function byServer(sides: Sides, side: Side, keys: readonly Buffer[]): Promise<Buffer[][]> {
  const groups = new Map<string, Buffer[]>();
  for (const [index, place] of (await sides[side].shardsOf(keys)).entries()) {
    const group = groups.get(place);
    if (group) group.push(keys[index]!);
    else groups.set(place, [keys[index]!]);
  }
  return [...groups.values()];
}

async function differingOfGroup(
  sides: Sides,
  keys: readonly Buffer[],
  known: PageDigest | null,
  expiryToleranceMs: number,
): Promise<Buffer[]> {
  const found: Buffer[] = [];
  let rest = keys;
  for (let digest = known; rest.length > 0; digest = null) {
    const [ofSource, ofTarget] = await Promise.all([
      digest ?? sides.source.digestKeys(rest),
      sides.target.digestKeys(rest.slice(0, digest?.count)),
    ]);
    const [source, target] = [answered(sides, 'source', ofSource), answered(sides, 'target', ofTarget)];
    // Where one has done fewer, for it took more work, the digests are of different keys.
    const count = Math.min(source.count, target.count);
    const done = rest.slice(0, count);
    if (source.count !== target.count) found.push(...done);
    else if (source.digest !== target.digest) found.push(...(await narrowed(sides, done, expiryToleranceMs)));
    else found.push(...(await otherExpiry(sides, done, source, target, expiryToleranceMs)), ...source.large);
    rest = rest.slice(count);
  }
  return found;
}

/** So few that to look at each costs little more than to narrow it down further. */
const FEW = 25;

/** Those parts of keys whose digests differ: mostly it is one key of many. */
async function narrowed(sides: Sides, keys: readonly Buffer[], expiryToleranceMs: number): Promise<readonly Buffer[]> {
  if (keys.length <= FEW) return keys;
  const parts = Array.from({ length: Math.ceil(keys.length / FEW) }, (_, part) =>
    differingOfGroup(sides, keys.slice(FEW * part, FEW * (part + 1)), null, expiryToleranceMs),
  );
  return (await Promise.all(parts)).flat();
}

async function otherExpiry(
  sides: Sides,
  keys: readonly Buffer[],
  source: PageDigest,
  target: PageDigest,
  expiryToleranceMs: number,
): Promise<Buffer[]> {
  if (source.expiries === null && target.expiries === null) return [];
  const pairs = keys.map((key, index) => ({
    key,
    source: source.expiries?.[index] ?? -1,
    target: target.expiries?.[index] ?? -1,
  }));
  const tolerance = await toleranceFor(sides.memory, keys[0]!, expiryToleranceMs, pairs);
  return pairs.filter((pair) => !tolerates(tolerance, pair.target, pair.source)).map(({ key }) => key);
}

function answered<Answer>(sides: Sides, side: Side, answer: Answer | RedisFailure): Answer {
  if (answer instanceof RedisFailure) throw reconcileError(answer, side, 'compare', sides[side].place);
  return answer;
}
