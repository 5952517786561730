/**
 * A hash, set or sorted set that is too large for one call: both sides are gone through page by page, and only the members that
 * differ are looked at by the protocol of `members.ts`. First the source's pages find what the target lacks or has otherwise,
 * then the target's find what the source does not have.
 *
 * A page says only where to look: nothing is written by what it said. A member that changes behind a page's back has a failed
 * write of its own, if the change was lost.
 */
import { pMapIterable } from 'p-map';
import { type MembersPage, RedisFailure, type RedisPort } from '../../redis/index.js';
import type { Link, ReconcileOptions, Repaired } from '../contract.js';
import { ReconcileError, reconcileError, type Side } from '../errors.js';
import { runMembersRound } from '../members.js';
import type { RoundResult } from '../round.js';
import { MAXIMUM_ROUNDS, PAUSES, restAfter } from '../rounds.js';
import { paced } from './pace.js';

/** Up to where the members have been compared and repaired. Plain data. */
export interface MembersProgress {
  /** Whose pages are gone through. */
  readonly pass: Side;
  readonly cursor: string;
  /** The servers it holds for: another source knows no such cursor, and another target may have lost what was repaired. */
  readonly servers: Readonly<Record<Side, string>>;
  /** Bytes written so far; null: no difference was met. */
  readonly repairedBytes: number | null;
}

export interface AllMembersOptions extends ReconcileOptions {
  readonly resume?: MembersProgress | undefined;
  readonly onProgress: (progress: MembersProgress) => void;
}

/** So that no page holds a server for long. */
const MEMBERS_PER_PAGE = 500;
/** While one page is compared, the next are on their way. */
const CONCURRENT_PAGES = 4;

/** @param type the source's, and the target's where it has the key */
export async function reconcileAllMembers(
  sides: Link,
  key: Buffer,
  type: string,
  options: AllMembersOptions,
): Promise<RoundResult> {
  const work = new AllMembers(sides, key, type, options);
  try {
    return await work.run();
  } catch (error) {
    if (error === AGAIN) return { outcome: 'again', repaired: work.repaired };
    if (error instanceof ReconcileError) return { outcome: 'failed', error, wrote: work.repaired !== null };
    throw error;
  }
}

/** Thrown when the key is no longer what it was at the beginning. */
const AGAIN = new Error('the key has become another');

class AllMembers {
  #repairedBytes: number | null = null;

  constructor(
    private readonly sides: Link,
    private readonly key: Buffer,
    private readonly type: string,
    private readonly options: AllMembersOptions,
  ) {}

  get repaired(): Repaired | null {
    if (this.#repairedBytes === null) return null;
    return { outcome: 'repaired', action: 'members', type: this.type, bytes: this.#repairedBytes };
  }

  async run(): Promise<RoundResult> {
    const servers = await this.#servers();
    const { resume } = this.options;
    const resumed = resume !== undefined && isSame(resume.servers, servers) ? resume : undefined;
    this.#repairedBytes = resume?.repairedBytes ?? null;
    if (resumed?.pass !== 'target') await this.#pass('source', servers, resumed);
    await this.#pass('target', servers, resumed?.pass === 'target' ? resumed : undefined);
    // The expiry, which no page may have touched; and whether the source, whose pages anyone could have given, is a master.
    await this.#reconcile([]);
    // A failover on the way: cursors of the one server meant nothing to the other, and what was repaired may be lost.
    if (!isSame(await this.#servers(), servers)) throw AGAIN;
    return this.repaired ?? { outcome: 'equal' };
  }

  async #servers(): Promise<MembersProgress['servers']> {
    const [source, target] = await Promise.all([
      this.sides.source.server(this.key),
      this.sides.target.server(this.key),
    ]);
    if (source instanceof RedisFailure) throw this.#failure(source, 'source');
    if (target instanceof RedisFailure) throw this.#failure(target, 'target');
    return { source, target };
  }

  async #pass(pass: Side, servers: MembersProgress['servers'], resume: MembersProgress | undefined): Promise<void> {
    const compared = pMapIterable(
      this.#pages(pass, resume),
      async (page) => {
        const differing = await this.#differing(pass, page);
        if (differing instanceof RedisFailure) throw this.#failure(differing, pass === 'source' ? 'target' : 'source');
        if (differing.length > 0) await this.#reconcile(differing);
        return page;
      },
      { concurrency: CONCURRENT_PAGES },
    );
    // In the order of the cursors: what is reported as done has nothing undone before it.
    for await (const { cursor } of compared) {
      this.options.onProgress({ pass, cursor, servers, repairedBytes: this.#repairedBytes });
    }
  }

  #differing(pass: Side, page: MembersPage): Promise<Buffer[] | RedisFailure> {
    if (pass === 'target') return this.sides.source.differingMembers(this.key, this.type, page);
    return this.#paced((target) => target.differingMembers(this.key, this.type, page));
  }

  #paced<Result>(step: (target: RedisPort) => Promise<Result>): Promise<Result> {
    return paced(this.sides, this.key, this.options.signal, step);
  }

  async *#pages(pass: Side, resume: MembersProgress | undefined): AsyncGenerator<MembersPage> {
    if (resume?.cursor === '0') return;
    let cursor = resume?.cursor ?? '0';
    do {
      this.options.signal?.throwIfAborted();
      const scan = { key: this.key, type: this.type, cursor, count: MEMBERS_PER_PAGE };
      const page =
        pass === 'source'
          ? await this.sides.source.scanMembers(scan)
          : await this.#paced((port) => port.scanMembers(scan));
      if (page instanceof RedisFailure) throw this.#failure(page, pass);
      if (page === null) {
        // Its last member may have gone by our own hand; what the source has is decided by the members themselves.
        if (pass === 'target') return;
        throw AGAIN;
      }
      yield page;
      cursor = page.cursor;
    } while (cursor !== '0');
  }

  async #reconcile(members: readonly Buffer[]): Promise<void> {
    for (let round = 1; round <= MAXIMUM_ROUNDS; round++) {
      this.options.signal?.throwIfAborted();
      const request = { key: this.key, members, creates: true };
      const [result] = await this.#paced((target) =>
        runMembersRound({ ...this.sides, target }, [request], this.options),
      );
      const { outcome } = result!;
      if (outcome === 'whole' || outcome === 'large') throw AGAIN;
      if (result!.outcome === 'failed') throw result!.error;
      if (result!.outcome === 'repaired') this.#count(result!.bytes);
      if (result!.outcome !== 'again') return;
      if (result!.repaired !== null) this.#count(result!.repaired.bytes);
      await restAfter(round, PAUSES.members, this.options.signal);
    }
    throw AGAIN;
  }

  #count(bytes: number): void {
    this.#repairedBytes = (this.#repairedBytes ?? 0) + bytes;
  }

  #failure(failure: RedisFailure, side: Side): ReconcileError {
    return reconcileError(failure, side, 'read', this.sides[side].place);
  }
}

function isSame(one: MembersProgress['servers'], other: MembersProgress['servers']): boolean {
  return one.source === other.source && one.target === other.target;
}
