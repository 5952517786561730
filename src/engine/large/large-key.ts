/** One key whose value is too large for one call, on either side. */
import { isOwnKey } from '../../own-keys.js';
import { LARGE, NO_TYPE, RedisFailure } from '../../redis/index.js';
import type { KeyDeferred, KeyRequest, KeyResult, Link, LinkSides, ReconcileOptions, Repaired } from '../contract.js';
import { reservedKey } from '../errors.js';
import { LinkMemory } from '../link-memory.js';
import { reconcileKeys } from '../reconcile.js';
import { failed, type RoundResult } from '../round.js';
import { contended, healing, MAXIMUM_ROUNDS, PAUSES, restAfter, withEarlier } from '../rounds.js';
import { hasMembers, isInOrder } from '../value-types.js';
import { type MembersProgress, reconcileAllMembers } from './by-member.js';
import { dropLargeKey } from './drop.js';
import { replaceOtherType } from './other-type.js';
import { replaceLargeKey } from './replacement.js';

/** How far a large key has been compared. Plain data. */
export type LargeKeyProgress = MembersProgress;

export interface LargeKeyOptions extends ReconcileOptions {
  /** What an earlier attempt reported last: it is gone on with where that can be. */
  readonly resume?: LargeKeyProgress | undefined;
  /** Called after each step, so that others see that it gets on. */
  readonly onProgress: (progress: LargeKeyProgress | undefined) => void;
}

/**
 * Makes one key on the target equal to the source, whatever its size, with no command that holds a
 * server for long and with bounded memory. Idempotent like `reconcileKeys`, whose result it gives
 * where the value has become small.
 * @throws the signal's reason when it aborts; what was written until then is valid, or was not
 *   compared again within `HEALING_MS`
 */
export async function reconcileLargeKey(
  sides: LinkSides,
  request: KeyRequest,
  options: LargeKeyOptions,
): Promise<KeyResult> {
  if (isOwnKey(request.key)) return reservedKey();
  const link = { memory: new LinkMemory(sides), ...sides };
  let repaired: Repaired | null = null;
  let { resume, signal } = options;
  for (let round = 1; round <= MAXIMUM_ROUNDS; round++) {
    if (round > 1) await restAfter(round - 1, PAUSES.large, signal);
    signal?.throwIfAborted();
    // As in `reconcile.ts`: it vouches for one comparison.
    const asked = round === 1 ? request : { ...request, allowDelete: false };
    const result = await runLargeRound(link, asked, { ...options, signal, resume });
    if (result.outcome !== 'again') return withEarlier(result, repaired);
    if (result.repaired !== null) {
      if (repaired === null) signal = healing(signal);
      repaired = result.repaired;
    }
    resume = undefined;
  }
  return contended(sides, repaired, MAXIMUM_ROUNDS);
}

async function runLargeRound(
  sides: Link,
  request: KeyRequest,
  options: LargeKeyOptions,
): Promise<RoundResult | KeyDeferred> {
  const { key } = request;
  const [target] = await sides.target.inspect([key], { atMaster: true });
  if (target instanceof RedisFailure) return failed(sides, target, 'target', 'read');
  const [source] = await sides.source.inspect([key]);
  if (source instanceof RedisFailure) return failed(sides, source, 'source', 'read');
  if (target!.digest !== LARGE && source!.digest !== LARGE) {
    const [result] = await reconcileKeys(sides, [request], options);
    if (result!.outcome !== 'large') return result!;
    // It has become large just now; or no script can write it, and it is replaced as if it were.
    const { repaired } = result!;
    if (repaired || !isInOrder(source!.type)) return { outcome: 'again', repaired: repaired ?? null };
  }
  if (options.cache !== undefined) return dropLargeKey(sides, key, options.signal);
  const onlyDumps = !isInOrder(source!.type) && !hasMembers(source!.type);
  if (onlyDumps && source!.digest === LARGE) return failed(sides, LARGE_DUMP, 'source', 'read');
  const replacing = { ...options, allowDelete: request.allowDelete ?? false };
  // It has to be read at one moment, so a later attempt begins anew.
  const onStep = () => options.onProgress(undefined);
  if (isInOrder(source!.type)) return replaceLargeKey(sides, key, replacing, onStep);
  // Of a type that only dumps, it is the target's that is large, and not compared.
  if (onlyDumps || (target!.type !== NO_TYPE && target!.type !== source!.type)) {
    return replaceOtherType(sides, key, source!.type, replacing, onStep);
  }
  return reconcileAllMembers(sides, key, source!.type, { ...options, allowDelete: request.allowDelete ?? false });
}

const LARGE_DUMP = new RedisFailure('LARGEDUMP', 'a value of a type that can only be dumped is too large for that');
