/**
 * A target of another type than the source's, at least one of the two large, or a large one of the
 * same type that only its DUMP can bring over: the source's value is built beside the target's and
 * takes its place in one step, so that the old one goes only when the new one is there. What has
 * changed while it was built shows in the next round.
 */
import { type KeyWatch, RedisFailure, type RedisPort, type TemporaryKey } from '../../redis/index.js';
import type { Link, Repaired } from '../contract.js';
import { refuseDeletes, refuseReplacing } from '../delete-guard.js';
import { ReconcileError, reconcileError, type Side, type Stage } from '../errors.js';
import { shortened } from '../lifetime.js';
import { runMembersRound } from '../members.js';
import { AGAIN, connectionsOf, type RoundResult } from '../round.js';
import { MAXIMUM_ROUNDS, PAUSES, restAfter } from '../rounds.js';
import { hasMembers } from '../value-types.js';
import { MEMBERS_PER_PAGE } from './by-member.js';
import { ChangedMeanwhile } from './changed-meanwhile.js';
import { paced, pay } from './pace.js';
import type { ReplaceOptions } from './replacement.js';

interface Work {
  readonly link: Link;
  readonly key: Buffer;
  /** Of the source. */
  readonly type: string;
  readonly options: ReplaceOptions;
  readonly onStep: () => void;
  /** Of the source, before it was read. */
  readonly connections: number;
  /** Something may be there beside the key. */
  begun: boolean;
  /** A page was written there. */
  isMade: boolean;
}

/**
 * @param type the source's: with members, or one that only its DUMP can bring over
 * @returns `again` also when all went well: the next round compares
 * @throws the signal's reason when it aborts; the target's key is then as it was
 */
export async function replaceOtherType(
  link: Link,
  key: Buffer,
  type: string,
  options: ReplaceOptions,
  onStep: () => void,
): Promise<RoundResult> {
  const connections = connectionsOf(link);
  const work: Work = { link, key, type, options, onStep, connections, begun: false, isMade: false };
  const watch = await link.target.watch(key);
  if (watch instanceof RedisFailure) return { outcome: 'failed', error: failed(link, watch, 'target', 'read') };
  if (watch.state.type === type && hasMembers(type)) {
    watch.close();
    return AGAIN;
  }
  const temporary = watch.temporaryKey();
  try {
    const bytes = hasMembers(type) ? await buildOfMembers(work, temporary) : await copyDump(work, temporary);
    // A dump went past the port that is counted, on the watch's own connection.
    await pay(link, key, options.signal, watch.cost);
    return await swap(work, watch, temporary, bytes);
  } catch (error) {
    if (error instanceof ChangedMeanwhile) return AGAIN;
    if (error instanceof ReconcileError) return { outcome: 'failed', error };
    throw error;
  } finally {
    if (work.begun) await temporary.discard();
    watch.close();
  }
}

/**
 * By the same steps as any members are repaired, page by page.
 * @returns bytes written
 */
async function buildOfMembers(work: Work, temporary: TemporaryKey): Promise<number> {
  const { link, key, type, options, onStep } = work;
  let bytes = 0;
  let cursor = '0';
  do {
    options.signal?.throwIfAborted();
    const page = await link.source.scanMembers({ key, type, cursor, count: MEMBERS_PER_PAGE });
    if (page instanceof RedisFailure) throw failed(link, page, 'source', 'read');
    if (page === null || page === 'lost') throw new ChangedMeanwhile();
    for (let first = 0; first < page.members.length; first += MEMBERS_PER_PAGE) {
      bytes += await addMembers(work, temporary, page.members.slice(first, first + MEMBERS_PER_PAGE));
      onStep();
    }
    cursor = page.cursor;
  } while (cursor !== '0');
  return bytes;
}

/**
 * @returns bytes written
 * @throws ChangedMeanwhile where members may be missing: what takes the key's place is all of it
 */
async function addMembers(work: Work, temporary: TemporaryKey, members: readonly Buffer[]): Promise<number> {
  const { link, key, options } = work;
  let bytes = 0;
  let because: ReconcileError | undefined;
  for (let round = 1; round <= MAXIMUM_ROUNDS; round++) {
    const page = work.isMade ? 'adds' : 'begins';
    const request = { key, members, page, beside: temporary, signal: options.signal } as const;
    const step = (target: RedisPort) => runMembersRound({ ...link, target }, [request], options);
    work.begun = true;
    const [result] = await paced(link, key, options.signal, step);
    options.signal?.throwIfAborted();
    if (result!.outcome === 'failed') throw result!.error;
    if (result!.outcome === 'equal') return bytes;
    const written = result!.outcome === 'again' ? result!.repaired : result!;
    if (written?.outcome === 'repaired') {
      work.isMade = true;
      bytes += written.bytes;
    }
    if (result!.outcome === 'repaired') return bytes;
    if (result!.outcome !== 'again') throw new ChangedMeanwhile();
    because = result!.because;
    await restAfter(round, PAUSES.members, options.signal);
  }
  throw because ?? new ChangedMeanwhile();
}

async function copyDump(work: Work, temporary: TemporaryKey): Promise<number> {
  const { link, key, type } = work;
  const [reading] = await link.source.read([{ key, known: { type: '', digest: '' } }]);
  if (reading instanceof RedisFailure) throw failed(link, reading, 'source', 'read');
  if (reading === 'deferred' || reading!.type !== type || reading!.dump === null) throw new ChangedMeanwhile();
  work.begun = true;
  const restored = await temporary.restore(reading!.dump);
  if (restored instanceof RedisFailure) throw failed(link, restored, 'target', 'write');
  return reading!.dump.length;
}

async function swap(work: Work, watch: KeyWatch, temporary: TemporaryKey, bytes: number): Promise<RoundResult> {
  const { link, key, type, options } = work;
  const bounded = await watch.boundWrite();
  if (bounded instanceof RedisFailure) throw failed(link, bounded, 'target', 'write');
  // Read after the watch began: a live write of both sides that comes later breaks it. At the
  // master alone: a stale replica must not decide about the target's key.
  const [source] = await link.source.readMembers([{ key, members: [] }]);
  if (source instanceof RedisFailure) throw failed(link, source, 'source', 'read');
  if (source === 'deferred' || source!.type !== type) return AGAIN;
  const { expiry, serverTimeMs } = source!;
  const clocks = { source: serverTimeMs, target: watch.serverTimeMs };
  const error = await shortened(link.memory, key, [expiry], clocks, options);
  if (error !== null) throw error;
  // A hash that has nothing but expired fields, which the source has not taken away yet: no key can
  // be made of none.
  const replaces = work.begun;
  if (!options.allowDelete) {
    const guard = options.deleteGuard;
    const refused = replaces
      ? await refuseReplacing(link, key, watch.state.type, guard)
      : (await refuseDeletes(link, [key], guard))[0];
    if (refused) throw refused;
    // Who vouches for a delete is to be the server that was read, as in `round.ts`.
    if (connectionsOf(link) !== work.connections) return AGAIN;
  }
  options.signal?.throwIfAborted();
  const outcome = await watch.write(replaces ? { action: 'replace', temporary, expiry } : { action: 'delete' });
  if (outcome instanceof RedisFailure) throw failed(link, outcome, 'target', 'write');
  if (outcome === 'changed') return AGAIN;
  const written: Pick<Repaired, 'action' | 'type'> = replaces
    ? { action: 'restored', type }
    : { action: 'deleted', type: watch.state.type };
  return { outcome: 'again', repaired: { outcome: 'repaired', ...written, bytes } };
}

function failed(link: Link, failure: RedisFailure, side: Side, stage: Stage): ReconcileError {
  return reconcileError(failure, side, stage, link[side].place);
}
