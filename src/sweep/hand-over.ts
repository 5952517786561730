/**
 * Differences that a sweep hands over to batches, which repair them within the budget and wait for
 * servers that are out; and what became of these.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BATCH_BYTES, BATCH_KEYS } from '../../workflows/batch-messages.js';
import type { EncodedKey } from '../../workflows/failed-write.js';
import { firstWithin, jsonBytes } from '../../workflows/json-bytes.js';
import type { SweepRepairs, SweepState } from '../../workflows/sweep-messages.js';
import { compareKeys, type LinkSides, type ReconcileOptions, refuseDeletes } from '../engine/index.js';
import { encodeKey, keyBytes } from '../events/failed-write-codec.js';
import { throwIfOfServer } from './looks.js';
import type { SureDifference } from './suspects.js';
import type { Finding } from './tally.js';
import { marked } from './timeline.js';

export interface Batches {
  /**
   * Starts a batch, and no second one for the same keys at the same position.
   * @param first its position among all keys that the sweep has handed over
   * @returns its ID
   * @throws the signal's reason when it aborts
   */
  start(found: readonly SureDifference[], first: number, signal: AbortSignal): Promise<string>;
  /**
   * @returns null while it is under way
   * @throws Error in one line where nobody can say
   */
  ended(batch: string): Promise<BatchEnd | null>;
}

interface BatchEnd {
  /** How many of its keys are equal; the others have workflows of their own. */
  readonly healed: number;
  /** The others, as far as they are known. */
  readonly wentOn: readonly EncodedKey[];
  /** In ms since the epoch. */
  readonly atMs: number;
}

interface HandOverOptions extends ReconcileOptions {
  readonly signal: AbortSignal;
  readonly batches: Batches;
  /** Told what keeps the sweep from its end, again and again; it is over with the next progress. */
  readonly onProblem?: ((line: string) => void) | undefined;
  /** When no batch ends for so long, that is told; default: half a minute. */
  readonly quietMs?: number | undefined;
}

/** Where the state of the sweep is: it travels, so all that counts is in there. */
interface Ledger {
  state: SweepState;
  changed(): void;
}

const NOTHING: SweepRepairs = {
  handedOver: 0,
  open: [],
  healed: 0,
  unhealed: 0,
  wentOn: [],
  healedWhen: [],
  healedBatches: [],
};
/** What went on by itself is waited for so long. */
const WAITS_FOR_MS = 30_000;
const LOOKS_EVERY_MS = 1_000;
/** What one comparison takes; of more that went on only the number is known. */
const KEYS_AT_ONCE = 500;
/** In the state of the sweep. */
const WENT_ON = { items: KEYS_AT_ONCE, bytes: 64 * 1024 };
/** The keys that are listed are those of the first ones. */
const MOST_KEPT = 500;
/** At once: they would only wait for each other's budget, and each stands in the state. */
const MOST_OPEN = 200;
/** Asked about in one turn. */
const ASKED_AT_ONCE = 10;
const ASKED_EVERY_MS = 500;
const QUIET_MS = 30_000;
/** What a failed write has beside its key, about. */
const BYTES_BESIDE_KEY = 300;

export class HandOver {
  readonly #sides: Required<LinkSides>;
  readonly #options: HandOverOptions;
  readonly #ledger: Ledger;
  #last: Promise<unknown> = Promise.resolve();
  /** The position of the batch that was asked about last. */
  #askedUpTo = -1;
  /** Of which nobody could say whether they have ended, and why, by their IDs. */
  readonly #unsaid = new Map<string, string>();

  constructor(sides: Required<LinkSides>, options: HandOverOptions, ledger: Ledger) {
    this.#sides = sides;
    this.#options = options;
    this.#ledger = ledger;
  }

  /**
   * Keys that the source seems to have lost go to nobody: each would escalate by itself.
   * @param signal ends the wait for room, and no start of a batch
   * @returns one finding for each, in order, once batches have them
   * @throws ReconcileError where a side can't be asked; the signal's reason when it aborts
   */
  take(found: readonly SureDifference[], signal: AbortSignal): Promise<Finding[]> {
    // One behind the other: a position is taken when its batch is there, and not before, so that
    // who goes on behind a crash meets that batch there.
    const taken = this.#last.then(() => this.#take(found, signal));
    this.#last = taken.catch(() => {});
    return taken;
  }

  async #take(found: readonly SureDifference[], signal: AbortSignal): Promise<Finding[]> {
    const findings: Finding[] = [];
    const refused = await this.#refused(found);
    const meant = found.filter((one) => {
      const reason = refused.get(one.key);
      if (reason !== undefined) findings.push({ ...one, reason });
      return reason === undefined;
    });
    for (const batch of inBatches(meant)) {
      await this.#untilOpen(MOST_OPEN - 1, signal);
      const first = this.#repairs.handedOver;
      const id = await this.#options.batches.start(batch, first, this.#options.signal);
      const { handedOver, open, ...rest } = this.#repairs;
      this.#keep({
        ...rest,
        handedOver: handedOver + batch.length,
        open: [...open, { id, first, keys: batch.length }],
      });
      findings.push(...batch.map((one) => ({ ...one, batch: first })));
    }
    await this.#askSome();
    const byKey = new Map(findings.map((finding) => [finding.key, finding]));
    return found.map(({ key }) => byKey.get(key)!);
  }

  async #refused(found: readonly SureDifference[]): Promise<Map<Buffer, string>> {
    const deletes = found.filter(({ difference }) => difference === 'extra').map(({ key }) => key);
    // Readers of a cache load what is deleted.
    if (this.#options.cache !== undefined) return new Map();
    const errors = await refuseDeletes(this.#sides, deletes, this.#options.deleteGuard);
    const refused = new Map<Buffer, string>();
    for (const [index, error] of errors.entries()) {
      if (error === null) continue;
      throwIfOfServer({ outcome: 'failed', error });
      refused.set(deletes[index]!, `${error.type}: ${error.message}`);
    }
    return refused;
  }

  /**
   * Until every batch has ended, and for some time until what went on by itself is equal as well:
   * a large value always goes on, and mostly heals at once.
   * @throws the signal's reason when it aborts
   */
  async untilHealed(): Promise<void> {
    await this.#untilOpen(0, this.#options.signal);
    for (const until = performance.now() + WAITS_FOR_MS; this.#waiting().length > 0; ) {
      await this.#lookAtThoseThatWentOn();
      if (performance.now() >= until) return;
      if (this.#waiting().length > 0) await sleep(LOOKS_EVERY_MS, undefined, { signal: this.#options.signal });
    }
  }

  #waiting() {
    return this.#repairs.wentOn.filter(({ healedAtMs }) => healedAtMs === undefined);
  }

  async #lookAtThoseThatWentOn(): Promise<void> {
    const waiting = this.#waiting().slice(0, KEYS_AT_ONCE);
    const compared = await compareKeys(this.#sides, waiting.map(keyBytes), this.#options);
    const equal = new Set(waiting.filter((_, index) => compared[index]!.outcome === 'equal'));
    const healedAtMs = Date.now();
    const { wentOn, healed, unhealed, healedWhen, ...rest } = this.#repairs;
    this.#keep({
      ...rest,
      wentOn: wentOn.map((one) => (equal.has(one) ? { ...one, healedAtMs } : one)),
      healed: healed + equal.size,
      unhealed: unhealed - equal.size,
      healedWhen: marked(healedWhen, healedAtMs, equal.size),
    });
  }

  async #untilOpen(most: number, signal: AbortSignal): Promise<void> {
    const { quietMs = QUIET_MS } = this.#options;
    let quiet = { open: this.#repairs.open, since: performance.now() };
    while (this.#repairs.open.length > most) {
      signal.throwIfAborted();
      await this.#askSome();
      const { open } = this.#repairs;
      if (open.length <= most) return;
      if (quiet.open !== open) quiet = { open, since: performance.now() };
      if (performance.now() - quiet.since >= quietMs && this.#unsaid.size === 0)
        this.#options.onProblem?.(`waits for ${open.length} of its batches to end, the first is ${open[0]!.id}`);
      await sleep(ASKED_EVERY_MS, undefined, { signal });
    }
  }

  /** Each in its turn: those that wait for a server must not hide the end of the others. */
  async #askSome(): Promise<void> {
    const { open } = this.#repairs;
    const next = open.filter(({ first }) => first > this.#askedUpTo);
    const asked = [...new Set([...next, ...open])].slice(0, ASKED_AT_ONCE);
    this.#askedUpTo = asked.at(-1)?.first ?? -1;
    const wasTroubled = this.#unsaid.size > 0;
    const ends = await Promise.all(asked.map(({ id }) => this.#endOf(id)));
    for (const [index, end] of ends.entries()) if (end !== null) this.#ended(asked[index]!, end);
    // The same line, whichever were asked: each other one costs the sweep a signal.
    const unsaid = this.#repairs.open.flatMap(({ id }) => this.#unsaid.get(id) ?? []);
    const those = unsaid.length === 1 ? '1 batch has' : `${unsaid.length} batches have`;
    if (unsaid.length > 0) this.#options.onProblem?.(`nobody can say whether ${those} ended: ${unsaid[0]}`);
    else if (wasTroubled) this.#ledger.changed();
  }

  async #endOf(batch: string): Promise<BatchEnd | null> {
    try {
      const end = await this.#options.batches.ended(batch);
      this.#unsaid.delete(batch);
      return end;
    } catch (error) {
      this.#unsaid.set(batch, (error as Error).message);
      return null;
    }
  }

  #ended(batch: SweepRepairs['open'][0], { healed, atMs, wentOn }: BatchEnd): void {
    const { open, ...rest } = this.#repairs;
    const unhealed = batch.keys - healed;
    const known = firstWithin([...rest.wentOn, ...wentOn], WENT_ON);
    // Of which keys went on, all must be known to say of the others that they have healed.
    const isKept = unhealed === known.length - rest.wentOn.length && rest.healedBatches.length < MOST_KEPT;
    this.#keep({
      ...rest,
      open: open.filter(({ first }) => first !== batch.first),
      healed: rest.healed + healed,
      unhealed: rest.unhealed + unhealed,
      wentOn: known,
      healedWhen: marked(rest.healedWhen, atMs, healed),
      healedBatches: isKept ? [...rest.healedBatches, [batch.first, atMs]] : rest.healedBatches,
    });
  }

  get #repairs(): SweepRepairs {
    return this.#ledger.state.repairs ?? NOTHING;
  }

  #keep(repairs: SweepRepairs): void {
    this.#ledger.state = { ...this.#ledger.state, repairs };
    this.#ledger.changed();
  }
}

/** As large as a batch may be. */
function inBatches(found: readonly SureDifference[]): SureDifference[][] {
  const batches: SureDifference[][] = [];
  let bytes = 0;
  for (const one of found) {
    const size = jsonBytes(encodeKey(one.key).key) + BYTES_BESIDE_KEY;
    const last = batches.at(-1);
    if (last !== undefined && last.length < BATCH_KEYS && bytes + size <= BATCH_BYTES) {
      last.push(one);
      bytes += size;
    } else {
      batches.push([one]);
      bytes = size;
    }
  }
  return batches;
}
