/** An empty source must never empty the target: when a delete may be believed. */
import { counted } from '../plural.js';
import { countSlots, type Health, type HealthOptions, healthIn, NO_TYPE, RedisFailure } from '../redis/index.js';
import type { DeleteGuard, LinkSides } from './contract.js';
import { ReconcileError, reconcileError } from './errors.js';

/**
 * Whether keys that were read as absent on the source may be deleted on the target. Call it after
 * those reads: a source that restarted empty, was flushed or became a replica before the read shows
 * now, whereas health asked before the read says nothing about what the read then saw.
 * @returns for each key null if it may, else why not
 */
export async function refuseDeletes(
  sides: LinkSides,
  keys: readonly Buffer[],
  guard: DeleteGuard,
): Promise<(ReconcileError | null)[]> {
  if (keys.length === 0) return [];
  const servers = await sides.source.shardsOf(keys);
  const judged = new Map<string, Promise<ReconcileError | null>>();
  for (const [index, server] of servers.entries()) {
    if (!judged.has(server)) judged.set(server, refuseDelete(sides, keys[index]!, guard));
  }
  return Promise.all(servers.map((server) => judged.get(server)!));
}

/** A value that has elements on both sides, and how many. */
interface Sizes {
  readonly key: Buffer;
  readonly onSource: number;
  readonly onTarget: number;
}

/**
 * The same for elements: a source that lost its data and has been written since has the key, with
 * next to nothing in it. Its servers are asked only where the value itself looks like that, so that
 * no other key pays for it.
 */
export async function refuseShrinking(
  sides: LinkSides,
  values: readonly Sizes[],
  guard: DeleteGuard,
): Promise<(ReconcileError | null)[]> {
  const suspicious = values.filter(({ onSource, onTarget }) => isSuddenlySmall(onSource, onTarget, guard));
  const keys = suspicious.map(({ key }) => key);
  const refused = await refuseDeletes(sides, keys, guard);
  return values.map((value) => (suspicious.includes(value) ? refused.shift()! : null));
}

/**
 * The same for a large value in whose place one of another type is to come: all its elements go.
 * @param type the target's
 */
export async function refuseReplacing(
  sides: LinkSides,
  key: Buffer,
  type: string,
  guard: DeleteGuard,
): Promise<ReconcileError | null> {
  if (type === NO_TYPE || type === 'string') return null;
  const [error] = await refuseDeletes(sides, [key], guard);
  return error!;
}

/**
 * By the source's server that has the key alone, and what the target has in the same slots: one
 * shard of a Cluster that was emptied must not be covered up by those that are full.
 */
async function refuseDelete(sides: LinkSides, key: Buffer, guard: DeleteGuard): Promise<ReconcileError | null> {
  const source = await sides.source.health({ key });
  if (source instanceof RedisFailure) return reconcileError(source, 'source', 'compare', sides.source.place);
  const judge = async (options?: HealthOptions) =>
    judgeDeletes(sides, source, await sides.target.health({ slots: source.slots }, options), guard);
  const refusal = await judge();
  // Only then is it worth a sample of the target's keys.
  return refusal?.type === 'SourceSuspicious' ? judge({ withoutOwn: true }) : refusal;
}

const NOT_MASTER = new RedisFailure('NOTMASTER', 'not a master');

/** What each side answered about itself. */
interface LinkHealth {
  readonly source: Health | RedisFailure;
  readonly target: Health | RedisFailure;
}

/**
 * Of which servers of the source no key may be deleted, by what both sides answered.
 * @returns for each of these why not; empty when all deletes are allowed
 */
export function refusedDeletes(sides: LinkSides, { source, target }: LinkHealth, guard: DeleteGuard): ReconcileError[] {
  if (source instanceof RedisFailure) return [reconcileError(source, 'source', 'compare', sides.source.place)];
  const errors = source.servers.map((server) => {
    const { answer, place, slots } = server;
    if (answer instanceof RedisFailure) return reconcileError(answer, 'source', 'compare', place);
    const ofTarget = target instanceof RedisFailure ? target : healthIn(slots, target);
    // The repair itself learns that from what refuses its write.
    if (!(ofTarget instanceof RedisFailure) && !ofTarget.isMaster)
      return reconcileError(NOT_MASTER, 'target', 'compare', placeOf(ofTarget, sides.target.place));
    return judgeDeletes(sides, { ...answer, slots, servers: [server] }, ofTarget, guard);
  });
  return errors.filter((error) => error !== null);
}

/** Pure, as is the above. */
function judgeDeletes(
  { source, target }: LinkSides,
  sourceHealth: Health,
  targetHealth: Health | RedisFailure,
  guard: DeleteGuard,
): ReconcileError | null {
  if (targetHealth instanceof RedisFailure) return reconcileError(targetHealth, 'target', 'compare', target.place);
  const place = placeOf(sourceHealth, source.place);
  if (!sourceHealth.isMaster) {
    return reconcileError(NOT_MASTER, 'source', 'compare', place);
  }
  const expected = keysInSlotsOf(sourceHealth, targetHealth);
  if (!isSuddenlySmall(sourceHealth.keys, expected, guard)) return null;
  const isEstimate = expected !== targetHealth.keys;
  return new ReconcileError(
    'SourceSuspicious',
    'compare',
    `${place} has ${counted(sourceHealth.keys, 'key')} and ${placeOf(targetHealth, target.place)} ` +
      `${isEstimate ? `about ${Math.round(expected)} in the same slots` : expected}: the source may have ` +
      'lost its data, so nothing was deleted; restore the source, or allow it for this key if its value was meant to go',
  );
}

/**
 * How many keys the target has in the slots of the source, if its keys are spread evenly over its
 * own.
 */
function keysInSlotsOf(source: Health, target: Health): number {
  return target.keys * (countSlots(source.slots) / countSlots(target.slots));
}

function placeOf({ servers }: Health, ofSide: string): string {
  return servers.length === 1 ? servers[0]!.place : ofSide;
}

export function isSuddenlySmall(source: number, target: number, { minimumRatio, minimumGap }: DeleteGuard): boolean {
  return source < minimumRatio * target && target - source >= minimumGap;
}
