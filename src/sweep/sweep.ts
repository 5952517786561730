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
import {
  LinkMemory,
  type LinkSides,
  ReconcileError,
  type ReconcileOptions,
  reconcileError,
  type Side,
} from '../engine/index.js';
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
  readonly soonestExpiry: number | null;
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
      const isProven = isWhole && (await this.#isProvenByCounting());
      const targetOnly = sample !== undefined ? 'skipped' : isProven ? 'counted' : 'scanned';
      this.state = { ...this.state, targetOnly };
    }
    // What was restarted meanwhile is gone through once more, and what was compared with it.
    for (let before: SweepState | null = null; before !== this.state; ) {
      before = this.state;
      if (this.state.targetOnly === 'scanned') await this.#partsOf('target');
      await this.#partsOf('source');
    }
    await this.#untilNothingMoves();
  }

  async #isProvenByCounting(): Promise<boolean> {
    const servers = await serversOf(this.#sides);
    return synchronized(this.state, 'source', servers) === this.state && isCounted(this.state, servers);
  }

  /**
   * A key of a slot on its way can have gone from a server that was not gone through yet to one
   * that was. Once the slot has arrived, both parts begin anew.
   */
  async #untilNothingMoves(): Promise<void> {
    const servers = await serversOf(this.#sides);
    for (const side of ['source', 'target'] as const) {
      const moving = servers[side].find((server) => server.moving.length > 0);
      if (moving === undefined) continue;
      const type = side === 'source' ? 'SourceUnavailable' : 'TargetUnavailable';
      throw new ReconcileError(
        type,
        'read',
        `slots of ${moving.place} are being moved; the sweep goes on when that has ended`,
      );
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
    const generation = this.#generation;
    const lane = async () => {
      for (const part of next) {
        // Parts were begun anew: those at hand are of what was before.
        if (generation !== this.#generation) return;
        await this.#goThrough(part, generation, signal);
      }
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
  async #goThrough(part: SweepPart, generation: number, signal: AbortSignal): Promise<void> {
    const suspects = this.#suspectsOf(part, generation, signal);
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
      const { own, keys } = page;
      const passedNow = {
        cursor,
        done,
        passed: looked,
        own,
        compared: keys.length,
        soonestExpiry: soonestExpiryOf(page),
      };
      await suspects.add(passedNow, differing);
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

  #suspectsOf(part: SweepPart, generation: number, signal: AbortSignal): Suspects<Passed> {
    const { options, settleMs, expiryToleranceMs, deleteGuard } = this.#request;
    // What is deferred comes again together.
    const ofEngine = { expiryToleranceMs, deleteGuard, signal, comesAsOne: true };
    const sides = { source: this.#sides.source, target: this.#sides.target };
    const repair = options.repair ? (found: readonly SureDifference[]) => repairKeys(sides, found, ofEngine) : null;
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
    // A key of another type on the source was not met there.
    if (side === 'target' && this.#request.options.type !== undefined) return keys;
    if (side === 'target') return absentOnSource(this.#sides, keys);
    return differingOfPage(this.#sides, keys, digest, this.#request.expiryToleranceMs);
  }

  #through(part: SweepPart, page: Passed, findings: Parameters<typeof added>[1]): void {
    const isIt = ({ side, server, slots, others }: SweepPart) =>
      side === part.side && server === part.server && slots === part.slots && others === part.others;
    const place = this.state.parts.findIndex(isIt);
    const now = this.state.parts[place];
    if (now === undefined) return;
    const others = this.state.parts.filter((other) => other !== now);
    const isDrawn = this.#request.options.sample !== undefined;
    const moved: SweepPart = {
      ...now,
      cursor: page.cursor,
      done: page.done,
      passed: now.passed + page.passed,
      own: now.own + page.own,
      compared: now.compared + page.compared,
      soonestExpiry: sooner(now.soonestExpiry, page.soonestExpiry),
      tally: added(now.tally, findings, summed(others), isDrawn),
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

function soonestExpiryOf({ keys, digest }: KeyPage): number | null {
  if (keys.length === 0) return null;
  if (digest === null || digest.count < keys.length) return 0;
  return (digest.expiries ?? []).filter((expiry) => expiry >= 0).reduce<number | null>(sooner, null);
}

function sooner(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.min(one, other);
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
