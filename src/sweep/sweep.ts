/**
 * A full comparison of a link, both ways: every key of the source is looked for on the target, and
 * where counting does not prove that there are no others, every key of the target on the source.
 */
import type {
  CompareLinkReply,
  SweepOptions,
  SweepPart,
  SweepReached,
  SweepState,
  SweepSummary,
} from '../../workflows/sweep-messages.js';
import { type Difference, LinkMemory, type LinkSides, ReconcileError, type ReconcileOptions } from '../engine/index.js';
import { agedBy, WITHIN_MS } from './ageing.js';
import { Ahead } from './ahead.js';
import { type Batches, HandOver } from './hand-over.js';
import { Looks, type LooksOptions } from './looks.js';
import { restBehind, restBehindLook } from './pace.js';
import { Pages } from './pages.js';
import {
  isCounted,
  type Keyspaces,
  partOfKeys,
  type ScannedSide,
  type Servers,
  serversOf,
  synchronized,
} from './parts.js';
import { followedBy, type Passed, soonestExpiryOf } from './passed.js';
import { Speed } from './speed.js';
import { percentOf, summary } from './summary.js';
import { type SureDifference, Suspects } from './suspects.js';
import { added, comparedIn, summed } from './tally.js';
import { Way } from './way.js';

export interface SweepRequest extends ReconcileOptions {
  /** Ends it where it is. */
  readonly signal: AbortSignal;
  readonly settleMs: number;
  readonly options: SweepOptions;
  /** What an earlier one has reached: it is gone on with where that can be. */
  readonly state: SweepState | undefined;
  /** Take what is to be repaired; undefined: nothing is. */
  readonly batches?: Batches | undefined;
  /** After which times what differs is looked at again, where that is asked; default: minutes. */
  readonly agesMs?: readonly number[];
  /** As of `HandOver`. */
  readonly onProblem?: (line: string) => void;
  /** As of `HandOver`. */
  readonly quietMs?: number;
  /** Called after each page that is through, and when a batch has ended. */
  readonly onProgress: (state: SweepState, reached: () => SweepReached) => void;
}

/**
 * Compares, and hands over what differs if asked to. No server is held for long, and only a few
 * pages are in memory at once.
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

interface Looking {
  readonly signal: AbortSignal;
  /** A look goes each of them. */
  readonly ways: readonly Way[];
}

class Sweep {
  state: SweepState;
  readonly #sides: Required<LinkSides>;
  /** Where pages are read: at the sides themselves, or at their replicas. */
  readonly #read: Keyspaces;
  readonly #request: SweepRequest;
  readonly #speed: Speed;
  readonly #pages: Pages;
  /** null: what differs is only told of. */
  readonly #handOver: HandOver | null;
  #connections = '';
  #synchronized: Promise<void> = Promise.resolve();
  /** Another one whenever parts were begun anew. */
  #generation = 0;
  /** Servers of which each is gone through at the same time as the others. */
  #lanes = 1;

  constructor(sides: LinkSides, request: SweepRequest) {
    this.#sides = { ...sides, memory: new LinkMemory(sides) };
    const { source, target } = sides;
    const isOfReplicas = request.options.readFrom === 'replica';
    this.#read = isOfReplicas ? { source: source.replicas, target: target.replicas } : { source, target };
    this.#request = request;
    this.state = request.state ?? { parts: [], redone: 0, targetOnly: null };
    const { options, expiryToleranceMs, signal, batches } = request;
    this.#speed = new Speed(percentOf(this.state, options), performance.now());
    this.#pages = new Pages(
      { ...this.#read, memory: this.#sides.memory },
      { options, expiryToleranceMs, rate: () => this.#rate },
    );
    this.#handOver = batches ? new HandOver(this.#sides, { ...request, signal, batches }, this) : null;
  }

  async run(): Promise<void> {
    await this.#compareAll();
    // That can take hours: a server that was restarted or took over meanwhile, as in an outage, may
    // have lost what was found equal.
    for (let before: SweepState['parts'] | null = null; this.#handOver && before !== this.state.parts; ) {
      await this.#handOver.untilHealed();
      before = this.state.parts;
      await this.#compareAll();
    }
    if (this.#request.options.aged) await this.#age();
  }

  async #age(): Promise<void> {
    const { signal, agesMs = WITHIN_MS } = this.#request;
    const { listed } = summed(this.state.parts);
    const looks = new Looks(this.#sides, this.#looksOptions({ signal, ways: [] }));
    for (;;) {
      const { aged = [] } = this.state;
      const withinMs = agesMs[aged.length];
      if (withinMs === undefined) return;
      const now =
        listed.length === 0
          ? { withinMs, stale: 0, listed: 0 }
          : await agedBy(withinMs, listed, { looks, signal, before: aged.at(-1) });
      this.state = { ...this.state, aged: [...aged, now] };
      this.changed();
    }
  }

  #looksOptions({ signal, ways }: Looking): LooksOptions {
    const { settleMs, expiryToleranceMs, deleteGuard, cache } = this.#request;
    const rest = (tookMs: number, keys: number) => {
      const busyMs = ways.reduce((left, way) => way.beyond(left), tookMs);
      return restBehindLook({ busyMs, waitedMs: busyMs, passedMs: tookMs, keys }, this.#rate, signal);
    };
    // What is deferred comes again together.
    return { expiryToleranceMs, deleteGuard, cache, signal, comesAsOne: true, settleMs, rest };
  }

  async #compareAll(): Promise<void> {
    const { keys } = this.#request.options;
    if (keys !== undefined) {
      if (this.state.parts.length === 0) this.state = { ...this.state, parts: [partOfKeys(keys.length)] };
      return this.#partsOf('keys');
    }
    if (this.#request.cache !== undefined) {
      this.state = { ...this.state, targetOnly: 'scanned' };
      await this.#partsOf('cache');
      return this.#untilNothingMoves();
    }
    // What was restarted meanwhile is gone through once more, and what was compared with it.
    for (let before: SweepState | null = null; before !== this.state; ) {
      before = this.state;
      await this.#partsOf('source');
      if (this.state.targetOnly === null) this.state = { ...this.state, targetOnly: await this.#targetOnly() };
      if (this.state.targetOnly === 'scanned') await this.#partsOf('target');
    }
    await this.#untilNothingMoves();
  }

  async #targetOnly(): Promise<SweepSummary['targetOnly']> {
    const { match, type, sample } = this.#request.options;
    if (sample !== undefined) return 'skipped';
    const isWhole = match === undefined && type === undefined;
    return isWhole && (await this.#isProvenByCounting()) ? 'counted' : 'scanned';
  }

  async #isProvenByCounting(): Promise<boolean> {
    const before = await serversOf(this.#read);
    // Of the source also behind the target: what has gone from both meanwhile would hide an extra.
    const { source } = await serversOf(this.#read);
    return [before, { ...before, source }].every(
      (servers) => synchronized(this.state, 'source', servers) === this.state && isCounted(this.state, servers),
    );
  }

  /**
   * A key of a slot on its way can have gone from a server that was not gone through yet to one
   * that was. Once the slot has arrived, both parts begin anew.
   */
  async #untilNothingMoves(): Promise<void> {
    const servers = await serversOf(this.#read);
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

  #synchronize(side: ScannedSide): Promise<void> {
    this.#connections = this.#connectionsNow;
    this.#synchronized = serversOf(this.#read).then((servers) => {
      this.#lanes = Math.min(servers.source.length, servers.target.length);
      const before = this.state;
      const targetKeys = before.targetKeys ?? servers.target.reduce((sum, { keys }) => sum + keys, 0);
      this.state = synchronized(before, side, servers);
      if (this.state !== before) {
        this.#generation += 1;
        // It was of what other parts had found.
        if (before.aged !== undefined) this.state = { ...this.state, aged: [] };
      }
      if (this.state.targetKeys !== targetKeys) this.state = { ...this.state, targetKeys };
      if (this.#request.options.readFrom === 'replica') this.#keepReaders(servers);
    });
    return this.#synchronized;
  }

  #keepReaders(servers: Servers): void {
    const all = [...servers.source, ...servers.target];
    const replicas = all.filter(({ isReplica }) => isReplica).length;
    const readFrom = { replicas, masters: all.length - replicas };
    if (this.state.readFrom?.replicas === replicas && this.state.readFrom.masters === readFrom.masters) return;
    this.state = { ...this.state, readFrom };
  }

  /** Another one after a restart, a failover or a slot that has moved. */
  get #connectionsNow(): string {
    return `${this.#read.source.connections} ${this.#read.target.connections}`;
  }

  /** One part to its end, or until parts were begun anew: then pages on their way are none. */
  async #goThrough(part: SweepPart, generation: number, signal: AbortSignal): Promise<void> {
    const { scans, comparisons } = this.#waysOf(part.side);
    const suspects = this.#suspectsOf(part, generation, { signal, ways: [scans, comparisons] });
    const ahead = new Ahead<Awaited<ReturnType<Suspects['look']>>>();
    const ask = (cursor: string) => scans.timed(this.#pages.page(part, cursor, scans.ms));
    let { passed, cursor } = part;
    for (let next = ask(cursor); ; ) {
      const begunAt = performance.now();
      const page = await next;
      const scanWaitedMs = performance.now() - begunAt;
      // Also what passed while nobody waited for it. The next one is not asked for yet.
      const scanMs = scans.lastBeyondMs;
      if (part.side !== 'keys' && this.#connections !== this.#connectionsNow) void this.#synchronize(part.side);
      // A page of another server than the cursor is of is none. All wait for who asks.
      await this.#synchronized;
      if (generation !== this.#generation) return;
      const looked = this.#pages.lookedAt(page);
      passed += looked;
      cursor = page.cursor;
      const done = this.#pages.isLast(part, page, passed);
      if (!done) {
        next = ask(cursor);
        // It is awaited above, and may fail before that.
        next.catch(() => {});
      }
      const { own, untaken = 0, keys } = page;
      if (keys.length > 0) await Promise.all([scans, comparisons].map((way) => way.measure(keys[0]!)));
      const soonestExpiry = soonestExpiryOf(page);
      const passedNow = { cursor, done, passed: looked, own, untaken, compared: keys.length, soonestExpiry };
      const differing = comparisons.timed(this.#pages.suspicious(part.side, page));
      const look = differing.then((differ) => suspects.look(differ));
      ahead.add(passedNow, look);
      for (;;) {
        const first = await ahead.next(done ? 0 : comparisons.ms);
        if (first === null) break;
        await suspects.add(...first);
      }
      if (done) break;
      // The next page is scanned while this one is compared. So each server is busy for as long as
      // the longer of both takes at most.
      const busyMs = Math.max(scanMs, comparisons.beyond(comparisons.lastMs));
      // Looks have rests of their own, and far away nobody waits for this very comparison.
      const waitedMs = scanWaitedMs + (comparisons.isFar ? 0 : comparisons.lastMs);
      const work = { busyMs, waitedMs, passedMs: performance.now() - begunAt, keys: looked };
      await restBehind(work, this.#rate, signal);
    }
    await suspects.settle();
  }

  #waysOf(side: SweepPart['side']): { readonly scans: Way; readonly comparisons: Way } {
    const { source, target } = this.#read;
    // Rows and keys that were given are compared one by one.
    if (side === 'keys' || side === 'cache') {
      return { scans: new Way(side === 'cache' ? target : null), comparisons: new Way(null) };
    }
    const [scanned, other] = side === 'source' ? [source, target] : [target, source];
    return { scans: new Way(scanned), comparisons: new Way(other) };
  }

  /** Of each lane. */
  get #rate(): number | undefined {
    const { rate } = this.#request.options;
    return rate && rate / this.#lanes;
  }

  #suspectsOf(part: SweepPart, generation: number, looking: Looking): Suspects {
    // A key that the source has by now, and of that type, is its own part's.
    const counts = (kind: Difference) => part.side !== 'target' || kind === 'extra' || kind === 'type';
    const batches = this.#handOver;
    const handOver = batches && ((found: readonly SureDifference[]) => batches.take(found, looking.signal));
    const ofSuspects = { ...this.#looksOptions(looking), counts, handOver };
    return new Suspects(this.#sides, ofSuspects, (passed, findings) => {
      if (generation === this.#generation) this.#through(part, passed, findings);
    });
  }

  #through(part: SweepPart, page: Passed, findings: Parameters<typeof added>[1]): void {
    const isIt = ({ side, server, slots, others }: SweepPart) =>
      side === part.side && server === part.server && slots === part.slots && others === part.others;
    const place = this.state.parts.findIndex(isIt);
    const now = this.state.parts[place];
    if (now === undefined) return;
    const rest = this.state.parts.filter((other) => other !== now);
    const others = () => ({ ...summed(rest), parts: rest.length });
    const isDrawn = this.#request.options.sample !== undefined;
    const moved: SweepPart = {
      ...now,
      ...followedBy(now, page),
      // Most pages have nothing; what all parts have found is not summed for these.
      ...(findings.length > 0 && { tally: added(now.tally, findings, others(), isDrawn) }),
    };
    const parts = this.state.parts.with(place, moved);
    this.state = { ...this.state, parts };
    this.changed();
  }

  changed(): void {
    this.#request.onProgress(this.state, () => this.#reached());
  }

  #reached(): SweepReached {
    const { differing, unsettled, failed } = summed(this.state.parts);
    const { handedOver = 0, healed: repaired = 0 } = this.state.repairs ?? {};
    const percent = percentOf(this.state, this.#request.options);
    const etaSeconds = this.#speed.secondsUntilEnd(percent, performance.now());
    const compared = comparedIn(this.state.parts);
    return { percent, etaSeconds, compared, differing, handedOver, repaired, unsettled, failed };
  }
}
