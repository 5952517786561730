/**
 * A full comparison of a link, both ways: every key of the source is looked for on the target, and
 * where counting does not prove that there are no others, every key of the target on the source.
 */
import { randomBytes } from 'node:crypto';
import type { EncodedKey } from '../../workflows/failed-write.js';
import type {
  CompareLinkReply,
  SweepOptions,
  SweepPart,
  SweepReached,
  SweepState,
} from '../../workflows/sweep-messages.js';
import { LinkMemory, type LinkSides, type ReconcileOptions, reconcileError, type Side } from '../engine/index.js';
import { keyBytes } from '../events/failed-write-codec.js';
import { isOwnKey } from '../own-keys.js';
import { type KeyPage, RedisFailure } from '../redis/index.js';
import { restBehind } from './pace.js';
import { absentOnSource, differingOfPage } from './page.js';
import { isCounted, partOfKeys, serversOf, synchronized } from './parts.js';
import { repairKeys } from './repair.js';
import { percentOf, summary } from './summary.js';
import { type SureDifference, Suspects } from './suspects.js';
import { added, comparedIn, summed } from './tally.js';

export interface SweepRequest extends ReconcileOptions {
  /** Ends it where it is. */
  readonly signal: AbortSignal;
  readonly settleMs: number;
  readonly options: SweepOptions;
  /** What an earlier one has reached: it is gone on with where that can be. */
  readonly state: SweepState | undefined;
  /** Called after each page that is through. */
  readonly onProgress: (state: SweepState, reached: () => SweepReached) => void;
}

/** As many as a server goes through in about 3 ms; fewer where a few a second are wanted. */
const [MOST_PER_PAGE, LEAST_PER_PAGE, PAGES_PER_SECOND] = [500, 10, 4];

/** A page that is through moves its part on. */
interface Passed {
  readonly cursor: string;
  readonly done: boolean;
  readonly passed: number;
  readonly own: number;
  readonly compared: number;
}

/**
 * Compares, and repairs if asked to. No server is held for long, and only a few pages are in memory
 * at once.
 * @returns `summary`: null when its signal has ended it
 * @throws ReconcileError where a side can't be asked now: it is gone on with by `state`, as it was
 *   told last
 */
export async function sweepLink(sides: LinkSides, request: SweepRequest): Promise<CompareLinkReply> {
  const sweep = new Sweep(sides, request);
  try {
    await sweep.run();
  } catch (error) {
    if (!request.signal.aborted) throw error;
    return { state: sweep.state, summary: null };
  }
  return { state: sweep.state, summary: summary(sweep.state, request.options) };
}

class Sweep {
  state: SweepState;
  readonly #sides: Required<LinkSides>;
  readonly #request: SweepRequest;
  readonly #begun = { atMs: performance.now(), percent: 0 };
  #connections = '';
  #synchronized: Promise<void> = Promise.resolve();
  /** Another one whenever parts were begun anew. */
  #generation = 0;
  /** Servers of which each is gone through at the same time as the others. */
  #lanes = 1;

  constructor(sides: LinkSides, request: SweepRequest) {
    this.#sides = { ...sides, memory: new LinkMemory(sides) };
    this.#request = request;
    this.state = request.state ?? { parts: [], redone: 0, targetOnly: null };
    const { options } = request;
    this.#begun.percent = percentOf(this.state, options);
  }

  async run(): Promise<void> {
    const { keys, sample } = this.#request.options;
    if (keys !== undefined) {
      if (this.state.parts.length === 0) this.state = { ...this.state, parts: [partOfKeys(keys.length)] };
      return this.#partsOf('keys');
    }
    await this.#partsOf('source');
    if (this.state.targetOnly === null) {
      const { match, type } = this.#request.options;
      const isWhole = match === undefined && type === undefined && sample === undefined;
      const isProven = isWhole && isCounted(this.state, await serversOf(this.#sides));
      const targetOnly = sample !== undefined ? 'skipped' : isProven ? 'counted' : 'scanned';
      this.state = { ...this.state, targetOnly };
    }
    if (this.state.targetOnly !== 'scanned') return;
    // What was restarted meanwhile is gone through once more, and what was compared with it.
    for (let before: SweepState | null = null; before !== this.state; ) {
      before = this.state;
      await this.#partsOf('target');
      await this.#partsOf('source');
    }
  }

  /** Until the part of each server is done, as the servers are by then. */
  async #partsOf(side: SweepPart['side']): Promise<void> {
    for (;;) {
      if (side !== 'keys') await this.#synchronize(side);
      const open = this.state.parts.filter((part) => part.side === side && !part.done);
      if (open.length === 0) return;
      await this.#goThroughAll(open);
    }
  }

  /** @throws what the first of them has thrown, once all have ended */
  async #goThroughAll(open: readonly SweepPart[]): Promise<void> {
    const failed = new AbortController();
    const signal = AbortSignal.any([this.#request.signal, failed.signal]);
    const next = open.values();
    const lane = async () => {
      for (const part of next) await this.#goThrough(part, signal);
    };
    const lanes = Array.from({ length: this.#lanes }, () =>
      lane().catch((error: unknown) => {
        if (!signal.aborted) failed.abort(error);
      }),
    );
    await Promise.all(lanes);
    signal.throwIfAborted();
  }

  #synchronize(side: Side): Promise<void> {
    this.#connections = this.#connectionsNow;
    this.#synchronized = serversOf(this.#sides).then((servers) => {
      this.#lanes = Math.min(servers.source.length, servers.target.length);
      const before = this.state;
      this.state = synchronized(before, side, servers);
      if (this.state !== before) this.#generation += 1;
    });
    return this.#synchronized;
  }

  /** Another one after a restart, a failover or a slot that has moved. */
  get #connectionsNow(): string {
    return `${this.#sides.source.connections} ${this.#sides.target.connections}`;
  }

  /** One part to its end, or until parts were begun anew: then pages on their way are none. */
  async #goThrough(part: SweepPart, signal: AbortSignal): Promise<void> {
    const generation = this.#generation;
    const suspects = this.#suspectsOf(part, signal);
    let { passed, cursor } = part;
    for (let next = this.#page(part, cursor); ; ) {
      const begunAt = performance.now();
      const page = await next;
      if (part.side !== 'keys' && this.#connections !== this.#connectionsNow) void this.#synchronize(part.side);
      // A page of another server than the cursor is of is none. All wait for who asks.
      await this.#synchronized;
      if (generation !== this.#generation) return;
      const looked = this.#lookedAt(page);
      passed += looked;
      cursor = page.cursor;
      const done = this.#isLast(part, page, passed);
      if (!done) {
        next = this.#page(part, cursor);
        // It is awaited below, and may fail before that.
        next.catch(() => {});
      }
      const differing = await this.#suspicious(part.side, page);
      await suspects.add({ cursor, done, passed: looked, own: page.own, compared: page.keys.length }, differing);
      if (done) break;
      const busyMs = performance.now() - begunAt;
      await restBehind({ busyMs, keys: looked }, this.#rate, signal);
    }
    await suspects.settle();
  }

  /** Of each lane. */
  get #rate(): number | undefined {
    const { rate } = this.#request.options;
    return rate && rate / this.#lanes;
  }

  #suspectsOf(part: SweepPart, signal: AbortSignal): Suspects<Passed> {
    const { options, settleMs, expiryToleranceMs, deleteGuard } = this.#request;
    // What is deferred comes again together.
    const ofEngine = { expiryToleranceMs, deleteGuard, signal, comesAsOne: true };
    const sides = { source: this.#sides.source, target: this.#sides.target };
    const repair = options.repair ? (found: readonly SureDifference[]) => repairKeys(sides, found, ofEngine) : null;
    const generation = this.#generation;
    return new Suspects<Passed>(this.#sides, { ...ofEngine, settleMs, repair }, (passed, findings) => {
      if (generation === this.#generation) this.#through(part, passed, findings);
    });
  }

  async #page({ side, place }: SweepPart, cursor: string): Promise<KeyPage> {
    const { options } = this.#request;
    if (side === 'keys') return pageOfGiven(options.keys!, Number(cursor));
    const { match, type, sample } = options;
    const from = sample === undefined ? cursor : anywhere();
    const scan = { cursor: from, count: this.#keysPerPage, match, type, digested: side === 'source' };
    const page = await this.#sides[side].scanKeys(place, scan);
    if (page instanceof RedisFailure) throw reconcileError(page, side, 'read', this.#sides[side].place);
    return page;
  }

  /** With a pattern or a type not all that were passed are told: about as many as asked for. */
  #lookedAt({ keys, own }: KeyPage): number {
    const { match, type } = this.#request.options;
    if (match !== undefined || type !== undefined) return this.#keysPerPage;
    // A sample of what was emptied meanwhile has an end, too.
    return Math.max(keys.length + own, this.#request.options.sample === undefined ? 0 : 1);
  }

  get #keysPerPage(): number {
    const rate = this.#rate ?? Number.POSITIVE_INFINITY;
    return Math.max(LEAST_PER_PAGE, Math.min(MOST_PER_PAGE, Math.ceil(rate / PAGES_PER_SECOND)));
  }

  #isLast(part: SweepPart, page: KeyPage, passed: number): boolean {
    const { sample } = this.#request.options;
    if (sample === undefined) return page.cursor === '0';
    return passed >= sample * part.keys;
  }

  /** Keys that are to be looked at one by one. */
  async #suspicious(side: SweepPart['side'], { keys, digest }: KeyPage): Promise<readonly Buffer[]> {
    if (side === 'keys' || keys.length === 0) return keys;
    if (side === 'target') return absentOnSource(this.#sides, keys);
    return differingOfPage(this.#sides, keys, digest, this.#request.expiryToleranceMs);
  }

  #through(part: SweepPart, page: Passed, findings: Parameters<typeof added>[1]): void {
    const isIt = ({ side, server, slots }: SweepPart) =>
      side === part.side && server === part.server && slots === part.slots;
    const place = this.state.parts.findIndex(isIt);
    const now = this.state.parts[place]!;
    const others = this.state.parts.filter((other) => other !== now);
    const isDrawn = this.#request.options.sample !== undefined;
    const moved: SweepPart = {
      ...now,
      cursor: page.cursor,
      done: page.done,
      passed: now.passed + page.passed,
      own: now.own + page.own,
      compared: now.compared + page.compared,
      tally: added(now.tally, findings, summed(others).listed, isDrawn),
    };
    const parts = this.state.parts.with(place, moved);
    this.state = { ...this.state, parts };
    this.#request.onProgress(this.state, () => this.#reached());
  }

  #reached(): SweepReached {
    const { differing, repaired, unsettled, failed } = summed(this.state.parts);
    const percent = percentOf(this.state, this.#request.options);
    const { atMs, percent: from } = this.#begun;
    const perPercent = (performance.now() - atMs) / (percent - from);
    const etaSeconds = percent > from ? Math.round(((100 - percent) * perPercent) / 1_000) : null;
    const compared = comparedIn(this.state.parts);
    return { percent, etaSeconds, compared, differing, repaired, unsettled, failed };
  }
}

function pageOfGiven(given: readonly EncodedKey[], first: number): KeyPage {
  const keys = given.slice(first, first + MOST_PER_PAGE).map(keyBytes);
  const next = first + MOST_PER_PAGE;
  const wanted = keys.filter((key) => !isOwnKey(key));
  const own = keys.length - wanted.length;
  return { cursor: next < given.length ? `${next}` : '0', keys: wanted, own, digest: null };
}

/** SCAN takes any cursor: what it finds from there is as good as drawn by lot. */
function anywhere(): string {
  return `${randomBytes(6).readUIntBE(0, 6)}`;
}
