/** One key whose value is too large for one call, on either side. */
import { LARGE, NO_TYPE, RedisFailure } from '../../redis/index.js';
import type { KeyDeferred, KeyRequest, KeyResult, Link, LinkSides, ReconcileOptions, Repaired } from '../contract.js';
import { reconcileError, type Side, type Stage } from '../errors.js';
import { LinkMemory } from '../link-memory.js';
import { reconcileKeys } from '../reconcile.js';
import type { RoundResult } from '../round.js';
import { contended, MAXIMUM_ROUNDS, PAUSES, restAfter, withEarlier } from '../rounds.js';
import { hasMembers, isInOrder } from '../value-types.js';
import { type MembersProgress, reconcileAllMembers } from './all-members.js';
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
 * @throws the signal's reason when it aborts; what was written until then is valid
 */
export async function reconcileLargeKey(
  sides: LinkSides,
  request: KeyRequest,
  options: LargeKeyOptions,
): Promise<KeyResult> {
  const link = { memory: new LinkMemory(sides), ...sides };
  let repaired: Repaired | null = null;
  let { resume } = options;
  for (let round = 1; round <= MAXIMUM_ROUNDS; round++) {
    if (round > 1) await restAfter(round - 1, PAUSES.large, options.signal);
    options.signal?.throwIfAborted();
    const result = await runLargeRound(link, request, { ...options, resume });
    if (result.outcome !== 'again') return withEarlier(result, repaired);
    repaired = result.repaired ?? repaired;
    resume = undefined;
  }
  return contended(sides, repaired);
}

async function runLargeRound(
  sides: Link,
  request: KeyRequest,
  options: LargeKeyOptions,
): Promise<RoundResult | KeyDeferred> {
  const { key } = request;
  const [target] = await sides.target.inspect([key]);
  if (target instanceof RedisFailure) return failed(sides, 'target', target);
  const [source] = await sides.source.inspect([key]);
  if (source instanceof RedisFailure) return failed(sides, 'source', source);
  if (target!.digest !== LARGE && source!.digest !== LARGE) {
    const [result] = await reconcileKeys(sides, [request], options);
    return result!.outcome === 'large' ? AGAIN : result!;
  }
  if (isInOrder(source!.type)) {
    return replaceLargeKey(sides, key, { ...options, allowDelete: request.allowDelete ?? false }, () => {
      // It has to be read at one moment, so a later attempt begins anew.
      options.onProgress(undefined);
    });
  }
  if (target!.type !== NO_TYPE && target!.type !== source!.type) return makeWay(sides, key, source!.type);
  // A type that is not known is never large.
  if (!hasMembers(source!.type)) return AGAIN;
  return reconcileAllMembers(sides, key, source!.type, options);
}

/**
 * Removes a target of another type than the source's, for members can't be put into it one by one.
 * The next round puts them.
 */
async function makeWay(sides: LinkSides, key: Buffer, type: string): Promise<RoundResult> {
  const watch = await sides.target.watch(key);
  if (watch instanceof RedisFailure) return failed(sides, 'target', watch);
  try {
    // Read after the watch began: a live write of both sides that comes later breaks it. At the
    // master alone: a stale replica must not decide about the target's key.
    const [source] = await sides.source.readMembers([{ key, members: [] }]);
    if (source instanceof RedisFailure) return failed(sides, 'source', source);
    if (source!.type !== type || watch.state.type === type) return AGAIN;
    const outcome = await watch.write({ action: 'delete' });
    if (outcome instanceof RedisFailure) return failed(sides, 'target', outcome, 'write');
    if (outcome === 'changed') return AGAIN;
    const removed = { outcome: 'repaired', action: 'deleted', type: watch.state.type, bytes: 0 } as const;
    return { outcome: 'again', repaired: removed };
  } finally {
    watch.close();
  }
}

const AGAIN: RoundResult = { outcome: 'again', repaired: null };

function failed(sides: LinkSides, side: Side, failure: RedisFailure, stage: Stage = 'read'): RoundResult {
  return { outcome: 'failed', error: reconcileError(failure, side, stage, sides[side].place) };
}
