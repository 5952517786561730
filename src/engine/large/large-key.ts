/** One key whose value is too large for one call, on either side. */
import { LARGE, NO_TYPE, RedisFailure } from '../../redis/index.js';
import type { KeyRequest, KeyResult, LinkSides, ReconcileOptions, Repaired } from '../contract.js';
import { ReconcileError, reconcileError } from '../errors.js';
import { LinkMemory } from '../link-memory.js';
import { reconcileKeys } from '../reconcile.js';
import type { RoundResult } from '../round.js';
import { type MembersProgress, reconcileAllMembers } from './all-members.js';

/** How far a large key has been compared. Plain data. */
export type LargeKeyProgress = MembersProgress;

export interface LargeKeyOptions extends ReconcileOptions {
  /** What an earlier attempt reported last: it is gone on with where that can be. */
  readonly resume?: LargeKeyProgress | undefined;
  /** Called after each step, so that others see that it gets on. */
  readonly onProgress: (progress: LargeKeyProgress | undefined) => void;
}

const MAXIMUM_ROUNDS = 5;
const WITH_MEMBERS: ReadonlySet<string> = new Set(['hash', 'set', 'zset']);

/**
 * Makes one key on the target equal to the source, whatever its size, with no command that holds a server for long and with
 * bounded memory. Idempotent like `reconcileKeys`, whose result it gives where the value has become small.
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
    options.signal?.throwIfAborted();
    const result = await runLargeRound(link, request, { ...options, resume });
    if (result.outcome === 'equal' && repaired !== null) return repaired;
    if (result.outcome !== 'again') return result;
    repaired = result.repaired ?? repaired;
    resume = undefined;
  }
  return { outcome: 'failed', error: contended(sides) };
}

async function runLargeRound(
  sides: Required<LinkSides>,
  request: KeyRequest,
  options: LargeKeyOptions,
): Promise<RoundResult> {
  const { key } = request;
  const [target] = await sides.target.inspect([key]);
  if (target instanceof RedisFailure) return failed(sides, 'target', target);
  const [source] = await sides.source.inspect([key]);
  if (source instanceof RedisFailure) return failed(sides, 'source', source);
  if (target!.digest !== LARGE && source!.digest !== LARGE) {
    const [result] = await reconcileKeys(sides, [request], options);
    return result!.outcome === 'large' ? { outcome: 'again', repaired: null } : result!;
  }
  if (!WITH_MEMBERS.has(source!.type) || ![NO_TYPE, source!.type].includes(target!.type)) {
    const message = 'only hashes, sets and sorted sets of this size can be reconciled yet; copy the key by hand';
    return { outcome: 'failed', error: new ReconcileError('Unsupported', 'read', message) };
  }
  return reconcileAllMembers(sides, key, source!.type, options);
}

function failed(sides: LinkSides, side: 'source' | 'target', failure: RedisFailure): RoundResult {
  return { outcome: 'failed', error: reconcileError(failure, side, 'read', sides[side].place) };
}

function contended({ source, target }: LinkSides): ReconcileError {
  return new ReconcileError(
    'Contended',
    'write',
    `the large key kept changing on ${target.place} or ${source.place} through ${MAXIMUM_ROUNDS} comparisons; ` +
      'it is tried again later, and converges once it is written less often',
  );
}
