/**
 * One round of the protocol for a string, list or stream too large for one call, or for the absence
 * of one:
 *
 * 1. watch the target, 2. watch the source, 3. compare ranges by digest, 4. build the source's
 *    value under a temporary key of the target, 5. see that the source is still what was read, 6.
 *    put the temporary key in place of the target's, unless that was written,
 * 7. look at the source once more.
 *
 * Why it is right: the fence of a value that no single call can digest is WATCH. All that was read
 * of a side until an EXEC of its connection succeeds belongs to one moment; the two watches
 * overlap, the target's beginning first, so what is written is never older than what was compared.
 * A lost connection loses its watch, and then nothing is written. Step 7 is a second watch, begun
 * before step 5: a value of the source that went and came back in the meantime shows there.
 * `round.ts` says why that matters.
 */
import { type KeyWatch, NO_TYPE, RedisFailure, type WatchedChange, type WatchedOutcome } from '../../redis/index.js';
import type { Link, ReconcileOptions, Repaired } from '../contract.js';
import { refuseDeletes, refuseReplacing, refuseShrinking } from '../delete-guard.js';
import { ReconcileError, reconcileError, type Side } from '../errors.js';
import { sameExpiry, toleranceFor, tolerates } from '../expiry-tolerance.js';
import { shortened } from '../lifetime.js';
import { AGAIN, type RoundResult } from '../round.js';
import { ChangedMeanwhile } from './changed-meanwhile.js';
import { type Comparison, WatchedPair } from './in-order.js';
import { compareLists } from './lists.js';
import { compareStreams } from './streams.js';
import { compareStrings } from './strings.js';

export interface ReplaceOptions extends ReconcileOptions {
  /** A person has confirmed that the key may be deleted: the guard is not asked. */
  readonly allowDelete?: boolean;
}

const COMPARISONS: Readonly<Record<string, (pair: WatchedPair) => Promise<Comparison>>> = {
  string: compareStrings,
  list: compareLists,
  stream: compareStreams,
};

/**
 * Makes a key on the target equal to the source, where it is a string, list or stream, or absent;
 * on the target it may be anything. Idempotent. No single command takes either server long, and
 * only a few ranges are in memory at once.
 * @param onStep called after each step of comparing and building
 * @returns `again` also when the key has become another type on the source
 * @throws the signal's reason when it aborts; what is left then is at most a temporary key that
 *   expires
 */
export async function replaceLargeKey(
  link: Link,
  key: Buffer,
  options: ReplaceOptions,
  onStep: () => void,
): Promise<RoundResult> {
  const work: Replacement = { link, key, options, watches: [], opened: [] };
  try {
    return await replace(work, onStep);
  } catch (error) {
    if (error instanceof ChangedMeanwhile) return AGAIN;
    if (!(error instanceof ReconcileError)) throw error;
    return (await wroteMeanwhile(work, error)) ? AGAIN : { outcome: 'failed', error };
  } finally {
    // The last first: a temporary key goes while the watch that made it still has its connection.
    for (const end of work.opened.toReversed()) await end();
  }
}

/** What a server says of a key that is not there any more, or of another type. */
const SAID_OF_KEY: ReadonlySet<string> = new Set(['ERR', 'WRONGTYPE', 'NOGROUP', 'BUSYGROUP']);

/**
 * Whether that answer is no wonder, because somebody has written the key since its watch began:
 * commands that go through it range by range met another value.
 */
async function wroteMeanwhile({ watches }: Replacement, { cause }: ReconcileError): Promise<boolean> {
  if (!(cause instanceof RedisFailure) || !SAID_OF_KEY.has(cause.code)) return false;
  const unchanged = await Promise.all(watches.map((each) => each.unchanged()));
  return unchanged.includes(false);
}

interface Replacement {
  readonly link: Link;
  readonly key: Buffer;
  readonly options: ReplaceOptions;
  /** Of this round, the first ones of both sides. */
  readonly watches: KeyWatch[];
  /** What has to be ended in any case. */
  readonly opened: (() => Promise<void> | void)[];
}

async function replace(work: Replacement, onStep: () => void): Promise<RoundResult> {
  const { link, key, options } = work;
  const target = await watch(work, 'target');
  const source = await watch(work, 'source');
  work.watches.push(target, source);
  const pair = new WatchedPair(link, key, target, source, onStep, options.signal);
  if (source.state.type === NO_TYPE) return remove(work, pair);
  const comparison = await COMPARISONS[source.state.type]?.(pair);
  if (comparison === undefined) throw new ChangedMeanwhile();

  const { expiry } = source.state;
  const expiries = { target: target.state.expiry, source: expiry };
  const tolerance = await toleranceFor(link.memory, key, options.expiryToleranceMs, [expiries]);
  const isTolerated = tolerates(tolerance, expiries.target, expiries.source);
  if (comparison.equal && isTolerated) return confirmEqual(pair);
  const clocks = { source: source.serverTimeMs, target: target.serverTimeMs };
  const error = await shortened(
    link.memory,
    key,
    sameExpiry(target.state.expiry, expiry) ? [] : [expiry],
    clocks,
    options,
  );
  if (error !== null) return { outcome: 'failed', error };
  if (!comparison.equal) {
    const refused = await refuseShorter(work, pair);
    if (refused !== null) return { outcome: 'failed', error: refused };
    const temporary = target.temporaryKey();
    // In place of the key it no longer has that name.
    work.opened.push(() => temporary.discard());
    await comparison.build(temporary);
    return write(work, pair, { action: 'replace', temporary, expiry }, comparison.bytes);
  }
  return write(work, pair, { action: 'expiry', expiry }, 0);
}

/** Of lists and streams: the size of a string is no number of elements. */
async function refuseShorter({ link, key, options }: Replacement, pair: WatchedPair): Promise<ReconcileError | null> {
  const [source, target] = [pair.source.state, pair.target.state];
  if (options.allowDelete) return null;
  if (source.type !== target.type) return refuseReplacing(link, key, target.type, options.deleteGuard);
  if (source.type === 'string') return null;
  const sizes = { key, onSource: source.size, onTarget: target.size };
  const [error] = await refuseShrinking(link, [sizes], options.deleteGuard);
  return error!;
}

async function remove(work: Replacement, pair: WatchedPair): Promise<RoundResult> {
  const { link, key, options } = work;
  if (pair.target.state.type === NO_TYPE) return confirmEqual(pair);
  const [error] = options.allowDelete ? [null] : await refuseDeletes(link, [key], options.deleteGuard);
  if (error) return { outcome: 'failed', error };
  return write(work, pair, { action: 'delete' }, 0);
}

/**
 * Both sides were what was read at the same time, for the watch of each began before the other's
 * ended.
 */
async function confirmEqual(pair: WatchedPair): Promise<RoundResult> {
  await mustBeUnchanged(pair, 'source');
  await mustBeUnchanged(pair, 'target');
  return { outcome: 'equal' };
}

async function write(work: Replacement, pair: WatchedPair, change: WatchedChange, bytes: number): Promise<RoundResult> {
  const secondLook = await watch(work, 'source');
  // After a failover the new master knows nothing of what was read at the old one.
  if (secondLook.server !== pair.source.server) throw new ChangedMeanwhile();
  // Counted from before the source is looked at: that look is what another attempt, which may have
  // found the key equal since, can make void.
  pair.settled(await pair.target.boundWrite(), 'target', 'write');
  await mustBeUnchanged(pair, 'source');
  work.options.signal?.throwIfAborted();
  const outcome = pair.settled(await pair.target.write(change), 'target', 'write');
  if (outcome === 'changed') throw new ChangedMeanwhile();
  const repaired = describeWrite(pair, outcome, bytes);
  const holds = pair.settled(await secondLook.unchanged({ atMaster: true }), 'source', 'verify');
  // What has expired at the target must be gone at the source as well: its watch tells neither way.
  if (!holds || outcome === 'expired') return { outcome: 'again', repaired };
  return repaired ?? { outcome: 'equal' };
}

/** @throws ChangedMeanwhile */
async function mustBeUnchanged(pair: WatchedPair, side: Side): Promise<void> {
  const answer = await pair[side].unchanged({ atMaster: true });
  if (!pair.settled(answer, side, 'compare')) throw new ChangedMeanwhile();
}

/** @throws ReconcileError */
async function watch({ link, key, opened }: Replacement, side: Side): Promise<KeyWatch> {
  const begun = await link[side].watch(key);
  if (begun instanceof RedisFailure) throw reconcileError(begun, side, 'read', link[side].place);
  opened.push(() => begun.close());
  return begun;
}

/** @returns null when nothing was written */
function describeWrite(
  { source, target }: WatchedPair,
  outcome: Exclude<WatchedOutcome, 'changed'>,
  bytes: number,
): Repaired | null {
  switch (outcome) {
    case 'replaced':
      return { outcome: 'repaired', action: 'restored', type: source.state.type, bytes };
    case 'expiry':
      return { outcome: 'repaired', action: 'expiry', type: source.state.type, bytes: 0 };
    case 'deleted':
    case 'expired':
      // It expired on the way. Where there was nothing before, nothing has changed.
      if (target.state.type === NO_TYPE) return null;
      return { outcome: 'repaired', action: 'deleted', type: target.state.type, bytes: 0 };
  }
}
