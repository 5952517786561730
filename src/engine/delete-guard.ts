/** An empty source must never empty the target: when a delete may be believed. */
import { type Health, RedisFailure } from '../redis/index.js';
import type { LinkSides } from './contract.js';
import { ReconcileError, reconcileError } from './errors.js';

export interface DeleteGuard {
  /** The source is suspicious when it has fewer keys than this part of the target's… */
  readonly minimumRatio: number;
  /** …and at least this many keys fewer. */
  readonly minimumGap: number;
}

/**
 * Whether keys that were read as absent on the source may be deleted on the target.
 * Call it after those reads: a source that restarted empty, was flushed or became a replica before the read shows now,
 * whereas health asked before the read says nothing about what the read then saw.
 * @returns null if they may, else why not
 */
export async function refuseDeletes({ source, target }: LinkSides, guard: DeleteGuard): Promise<ReconcileError | null> {
  const [sourceHealth, targetHealth] = await Promise.all([source.health(), target.health()]);
  return judgeDeletes({ source, target }, { source: sourceHealth, target: targetHealth }, guard);
}

/** What each side answered about itself. */
export interface LinkHealth {
  readonly source: Health | RedisFailure;
  readonly target: Health | RedisFailure;
}

/** The judgement of `refuseDeletes` on what both sides answered. Pure. */
export function judgeDeletes(
  { source, target }: LinkSides,
  { source: sourceHealth, target: targetHealth }: LinkHealth,
  guard: DeleteGuard,
): ReconcileError | null {
  if (sourceHealth instanceof RedisFailure) return reconcileError(sourceHealth, 'source', 'compare', source.place);
  if (targetHealth instanceof RedisFailure) return reconcileError(targetHealth, 'target', 'compare', target.place);
  if (!sourceHealth.isMaster) {
    return reconcileError(new RedisFailure('NOTMASTER', 'not a master'), 'source', 'compare', source.place);
  }
  if (!isSuddenlySmall(sourceHealth, targetHealth, guard)) return null;
  return new ReconcileError(
    'SourceSuspicious',
    'compare',
    `${source.place} has ${sourceHealth.keys} keys and ${target.place} ${targetHealth.keys}: the source may have ` +
      'lost its data, so nothing was deleted; restore the source, or allow the delete of this key if it is meant',
  );
}

function isSuddenlySmall(source: Health, target: Health, { minimumRatio, minimumGap }: DeleteGuard): boolean {
  return source.keys < minimumRatio * target.keys && target.keys - source.keys >= minimumGap;
}
