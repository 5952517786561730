/**
 * A hash, set or sorted set that is too large for one call: both sides are gone through page by
 * page, and only the members that differ are looked at by the protocol of `members.ts`. First the
 * source's pages find what the target lacks or has otherwise, then the target's find what the
 * source does not have.
 *
 * A page says only where to look: nothing is written by what it said. A member that changes behind
 * a page's back has a failed write of its own, if the change was lost.
 */
import { type MembersPage, NO_TYPE, RedisFailure, type RedisPort } from '../../redis/index.js';
import type { Link, ReconcileOptions, Repaired } from '../contract.js';
import { ReconcileError, reconcileError, type Side } from '../errors.js';
import { runMembersRound } from '../members.js';
import type { RoundResult } from '../round.js';
import { healing, MAXIMUM_ROUNDS, PAUSES, restAfter } from '../rounds.js';
import { ahead } from './ahead.js';
import { ChangedMeanwhile } from './changed-meanwhile.js';
import { paced, type StepCost } from './pace.js';
import type { ReplaceOptions } from './replacement.js';

/** Up to where the members have been compared and repaired. Plain data. */
export interface MembersProgress {
  /** Whose pages are gone through. */
  readonly pass: Side;
  /** Of the key: a cursor says nothing to another one. */
  readonly type: string;
  readonly cursor: string;
  /**
   * The servers it holds for: another source knows no such cursor, and another target may have lost
   * what was repaired.
   */
  readonly servers: Readonly<Record<Side, string>>;
  /** Bytes written so far; null: no difference was met. */
  readonly repairedBytes: number | null;
}

interface AllMembersOptions extends ReplaceOptions {
  readonly resume?: MembersProgress | undefined;
  readonly onProgress: (progress: MembersProgress) => void;
}

/** So that no page holds a server for long. */
export const MEMBERS_PER_PAGE = 500;
/** While one page is compared, the next are on their way. */
const CONCURRENT_PAGES = 4;

type StepKind = 'look' | 'page' | 'digest' | 'compare' | 'repair';

/** A large key whose members are gone through. */
interface Work {
  readonly link: Link;
  readonly key: Buffer;
  readonly type: string;
  readonly options: AllMembersOptions;
  /** For members that were written and have changed since. */
  readonly healing: AbortSignal | undefined;
  /** Of the last step of each kind at the target. */
  readonly costs: Record<StepKind, StepCost>;
  /** Bytes written so far; null: no difference was met. */
  repairedBytes: number | null;
  /** As in `MembersOf`. */
  vouchedCount?: number;
  /**
   * The source's pages had no member, from the first to the last one. Of a hash that is there:
   * fields that have expired and were not taken away yet.
   */
  isEmpty: boolean;
}

/**
 * A side whose value lies in one piece, as it was at the beginning of a pass: each member with its
 * digest, both as Latin-1. null: its members are asked for page by page.
 */
type Pieces = Readonly<Record<Side, ReadonlyMap<string, string> | null>>;

/** @param type the source's, and the target's where it has the key */
export async function reconcileAllMembers(
  link: Link,
  key: Buffer,
  type: string,
  options: AllMembersOptions,
): Promise<RoundResult> {
  const repairedBytes = options.resume?.repairedBytes ?? null;
  const free = () => ({ operations: 0 });
  const costs = { look: free(), page: free(), digest: free(), compare: free(), repair: free() };
  const state = { healing: healing(options.signal), costs, repairedBytes, isEmpty: false };
  const work: Work = { link, key, type, options, ...state };
  try {
    await goThroughBoth(work);
    return repairedBy(work) ?? { outcome: 'equal' };
  } catch (error) {
    if (error instanceof ChangedMeanwhile) return { outcome: 'again', repaired: repairedBy(work) };
    if (error instanceof ReconcileError) return { outcome: 'failed', error, wrote: work.repairedBytes !== null };
    throw error;
  }
}

function repairedBy({ type, repairedBytes }: Work): Repaired | null {
  return repairedBytes === null ? null : { outcome: 'repaired', action: 'members', type, bytes: repairedBytes };
}

/** @throws ChangedMeanwhile, ReconcileError */
async function goThroughBoth(work: Work): Promise<void> {
  const servers = await serversOf(work);
  const { resume } = work.options;
  const resumed = resume?.type === work.type && isSame(resume.servers, servers) ? resume : undefined;
  work.isEmpty = resumed === undefined;
  if (work.options.allowDelete)
    work.vouchedCount = counted(work, 'source', await work.link.source.cardinality(work.key, work.type));
  if (resumed?.pass !== 'target') await goThrough(work, 'source', servers, resumed);
  await goThrough(work, 'target', servers, resumed?.pass === 'target' ? resumed : undefined);
  // The expiry, which no page may have touched; and whether the source, whose pages anyone could
  // have given, is a master.
  await reconcileMembers(work, []);
  await mustBeAsMany(work);
  // A failover on the way: cursors of the one server meant nothing to the other, and what was
  // repaired may be lost.
  if (!isSame(await serversOf(work), servers)) throw new ChangedMeanwhile();
}

/**
 * That the target lacks nothing of what was gone through: its key may have vanished behind the
 * first pages (evicted, expired there alone, flushed), and a later page has made it anew. What it
 * has too much, its own pages have shown. Looked at several times, for live writes may be on their
 * way.
 * @throws ChangedMeanwhile
 */
async function mustBeAsMany(work: Work): Promise<void> {
  const { link, key, type, options } = work;
  let onTarget = 0;
  for (let look = 1; look <= MAXIMUM_ROUNDS; look++) {
    options.signal?.throwIfAborted();
    const onSource = counted(work, 'source', await link.source.cardinality(key, type));
    onTarget = counted(work, 'target', await atTarget(work, 'look', (target) => target.cardinality(key, type)));
    if (onTarget >= onSource) return;
    await restAfter(look, PAUSES.members, options.signal);
  }
  // Fields that have expired count until the server has taken them away.
  if (type !== 'hash') throw new ChangedMeanwhile();
  let present = 0;
  for await (const { members } of pagesOf(work, 'source', undefined)) present += members.length;
  if (onTarget < present) throw new ChangedMeanwhile();
}

function counted({ link }: Work, side: Side, answer: number | RedisFailure): number {
  if (!(answer instanceof RedisFailure)) return answer;
  if (answer.code === 'WRONGTYPE') throw new ChangedMeanwhile();
  throw notRead(link, answer, side);
}

async function serversOf({ link, key }: Work): Promise<MembersProgress['servers']> {
  const [source, target] = await Promise.all([link.source.server(key), link.target.server(key)]);
  if (source instanceof RedisFailure) throw notRead(link, source, 'source');
  if (target instanceof RedisFailure) throw notRead(link, target, 'target');
  return { source, target };
}

async function goThrough(
  work: Work,
  pass: Side,
  servers: MembersProgress['servers'],
  resume: MembersProgress | undefined,
): Promise<void> {
  if (resume?.cursor === '0') return;
  const pieces = { source: await pieceOf(work, 'source'), target: await pieceOf(work, 'target') };
  const pages = pieces[pass] === null ? pagesOf(work, pass, resume?.cursor) : pagesOfPiece(pieces[pass]);
  const compared = ahead(pages, CONCURRENT_PAGES, async (page) => {
    if (pass === 'source' && page.members.length > 0) work.isEmpty = false;
    const differing = await differingMembers(work, pass, page, pieces);
    if (differing.length > 0) await reconcileMembers(work, differing);
    return page;
  });
  // In the order of the cursors: what is reported as done has nothing undone before it.
  for await (const { cursor } of compared) {
    const { type, repairedBytes } = work;
    work.options.onProgress({ pass, type, cursor, servers, repairedBytes });
  }
}

async function differingMembers(work: Work, pass: Side, page: MembersPage, pieces: Pieces): Promise<Buffer[]> {
  const { key, type } = work;
  const other: Side = pass === 'target' ? 'source' : 'target';
  const piece = pieces[other];
  const digests = await digestsOf(work, pass, page);
  if (piece !== null) {
    return page.members.filter((member, index) => piece.get(member.toString('latin1')) !== digestIn(digests, index));
  }
  const differing: Buffer[] = [];
  for (let done = 0; done < page.members.length; ) {
    const members = page.members.slice(done, done + MEMBERS_PER_PAGE);
    const some = digests.subarray(40 * done, 40 * (done + members.length));
    const found = await at(work, other, 'compare', (port) => port.differingMembers({ key, type, members }, some));
    differing.push(...found.differing);
    done += found.compared;
  }
  return differing;
}

/**
 * Where no page has them, some at a time.
 * @throws ChangedMeanwhile
 */
async function digestsOf(work: Work, side: Side, { members, digests }: MembersPage): Promise<Buffer> {
  if (digests !== null) return digests;
  const { key, type } = work;
  const all: Buffer[] = [];
  for (let done = 0; done < members.length; ) {
    const some = members.slice(done, done + MEMBERS_PER_PAGE);
    const found = await at(work, side, 'digest', (port) => port.digestMembers({ key, type, members: some }));
    if (found === null) throw new ChangedMeanwhile();
    all.push(found);
    done += found.length / 40;
  }
  return Buffer.concat(all);
}

/**
 * One step at a side, at the target within its budget.
 * @throws ReconcileError for a failure; the reason of an aborted signal
 */
async function at<Answer>(
  work: Work,
  side: Side,
  kind: StepKind,
  step: (port: RedisPort) => Promise<Answer | RedisFailure>,
): Promise<Answer> {
  const { link, options } = work;
  options.signal?.throwIfAborted();
  const answer = await (side === 'source' ? step(link.source) : atTarget(work, kind, step));
  if (answer instanceof RedisFailure) throw notRead(link, answer, side);
  return answer;
}

function atTarget<Result>(
  { link, key, options, costs }: Work,
  kind: StepKind,
  step: (target: RedisPort) => Promise<Result>,
): Promise<Result> {
  return paced(link, key, options.signal, step, costs[kind]);
}

function digestIn(digests: Buffer, index: number): string {
  return digests.toString('latin1', 40 * index, 40 * (index + 1));
}

async function pieceOf(work: Work, side: Side): Promise<ReadonlyMap<string, string> | null> {
  if (!(await at(work, side, 'look', (port) => port.isInOnePiece(work.key)))) return null;
  const piece = new Map<string, string>();
  for await (const page of pagesOf(work, side, undefined)) {
    const digests = await digestsOf(work, side, page);
    for (const [index, member] of page.members.entries()) {
      piece.set(member.toString('latin1'), digestIn(digests, index));
    }
  }
  return piece;
}

/** It has no cursors: an attempt that follows begins anew, from '', until the last page is done. */
async function* pagesOfPiece(piece: ReadonlyMap<string, string>): AsyncGenerator<MembersPage> {
  const all = [...piece];
  for (let first = 0; first === 0 || first < all.length; first += MEMBERS_PER_PAGE) {
    const some = all.slice(first, first + MEMBERS_PER_PAGE);
    yield {
      cursor: first + MEMBERS_PER_PAGE < all.length ? '' : '0',
      members: some.map(([member]) => Buffer.from(member, 'latin1')),
      digests: Buffer.from(some.map(([, digest]) => digest).join('')),
    };
  }
}

async function* pagesOf(work: Work, pass: Side, resumed: string | undefined): AsyncGenerator<MembersPage> {
  const { key, type } = work;
  let cursor = resumed || '0';
  do {
    const scan = { key, type, cursor, count: MEMBERS_PER_PAGE };
    const page = await at(work, pass, 'page', (port) => port.scanMembers(scan));
    if (page === 'lost') throw new ChangedMeanwhile();
    if (page === null) {
      // Its last member may have gone by our own hand; what the source has is decided by the
      // members themselves.
      if (pass === 'target') return;
      throw new ChangedMeanwhile();
    }
    yield page;
    cursor = page.cursor;
  } while (cursor !== '0');
}

/** With no members: the expiry alone. */
async function reconcileMembers(work: Work, members: readonly Buffer[]): Promise<void> {
  const { link, key } = work;
  const { allowDelete } = work.options;
  const { vouchedCount } = work;
  let options: ReconcileOptions = work.options;
  let because: ReconcileError | undefined;
  for (let round = 1; round <= MAXIMUM_ROUNDS; round++) {
    options.signal?.throwIfAborted();
    const request = { key, members, page: 'creates', signal: options.signal, allowDelete, vouchedCount } as const;
    const step = (target: RedisPort) => runMembersRound({ ...link, target }, [request], options);
    const [result] = await paced(link, key, options.signal, step, work.costs.repair);
    const { outcome } = result!;
    if (result!.outcome === 'whole') {
      const { repaired } = result!;
      if (repaired) count(work, repaired.bytes);
      if (work.isEmpty && (await isAbsentOnTarget(work))) return;
      throw new ChangedMeanwhile();
    }
    if (outcome === 'large') throw new ChangedMeanwhile();
    if (result!.outcome === 'failed') {
      if (result!.wrote) count(work, 0);
      throw result!.error;
    }
    if (result!.outcome === 'repaired') count(work, result!.bytes);
    if (result!.outcome !== 'again') return;
    because = result!.because;
    if (result!.repaired !== null) {
      count(work, result!.repaired.bytes);
      options = { ...work.options, signal: work.healing };
    }
    await restAfter(round, PAUSES.members, options.signal);
  }
  throw because ?? new ChangedMeanwhile();
}

async function isAbsentOnTarget(work: Work): Promise<boolean> {
  const [state] = await atTarget(work, 'look', (target) => target.inspect([work.key], { atMaster: true }));
  if (state instanceof RedisFailure) throw notRead(work.link, state, 'target');
  return state!.type === NO_TYPE;
}

function count(work: Work, bytes: number): void {
  work.repairedBytes = (work.repairedBytes ?? 0) + bytes;
}

function notRead(link: Link, failure: RedisFailure, side: Side): ReconcileError {
  return reconcileError(failure, side, 'read', link[side].place);
}

function isSame(one: MembersProgress['servers'], other: MembersProgress['servers']): boolean {
  return one.source === other.source && one.target === other.target;
}
