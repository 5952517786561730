/**
 * The budget of a link at its target: how many operations a second all workers together may execute
 * there.
 *
 * Operation: a command as the server's INFO commandstats counts it, so each one that a script
 * calls, too.
 * Pace:      operations per ms, a little below the budget.
 * Slice:     a stretch of time on one timeline that all workers share; in it, its length times the
 *            pace may be executed.
 *
 * The server hands out slices end to end (`lua/lease.lua`). A process leases one for those who wait
 * and gives each a piece of it, n / pace ms for n operations, granted when the piece begins. What
 * is left over serves those who ask within `FRESH_MS`, and is lost then, so that nothing can be
 * saved up for a burst. `docs/decisions/0005-budget.md` has what follows from it and what was
 * measured.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from '../connection/connection.js';
import { RedisFailure } from '../connection/failure.js';
import { scripts } from '../scripts/script.js';
import { type RowAnswer, runScript } from '../scripts/script-runner.js';

export interface Reservation {
  readonly granted: true;
  /**
   * Says how many operations were executed in the end; call it once. The rest serves the next
   * reservation here while it is fresh; an excess is a debt that the next lease pays.
   */
  settle(used: number): void;
}

/**
 * Others are ahead for longer than an attempt should hold its slot. After `retryAfterMs` it is
 * likely to be granted.
 */
export interface Refused {
  readonly granted: false;
  readonly retryAfterMs: number;
}

export interface Budget {
  /** Ask for no more than so many at once, if it can be helped: they are executed in one moment. */
  readonly slice: number;
  /** So many bytes cost as much as one operation; absent: they cost nothing. */
  readonly bytesPerOperation?: number | undefined;
  /**
   * Asks for operations, to be executed at once when they are granted. Waits for its turn if that
   * is near (about 250 ms).
   * @throws RedisFailure the target's, when it can't be asked
   */
  reserve(operations: number): Promise<Reservation | Refused>;
}

export interface BudgetOptions {
  readonly link: string;
  readonly opsPerSecond: number;
  /** To the server and from it; absent: as many as the operations have. */
  readonly bytesPerSecond?: number | undefined;
  /** Gets one line when the budget's key held something else, which was replaced. */
  readonly warn?: (line: string) => void;
  /**
   * Told how long one who asked waits, in ms: here, and who is sent away for as long as that is.
   * Must not throw. `shard` as in `ShardOutage`.
   */
  readonly onWaited?: (ms: number, shard: string) => void;
  /** Told how many operations were executed. Must not throw. */
  readonly onUsed?: (operations: number, shard: string) => void;
}

/**
 * What is below 1.05 is for the time between grant and execution: a slice, `FRESH_MS`, and how long
 * operations travel.
 */
const PACE_RATIO = 0.98;
const SLICE_MS = 20;
const FRESH_MS = 30;
/** At most this part of a slice is paid with what was left over before. */
const LEFT_OVER_RATIO = 0.25;
/**
 * A new slice is asked for so long before the last one ends, and the usual journey of an answer
 * earlier.
 */
const AHEAD_MS = 10;
const LONGEST_JOURNEY_MS = 250;
/** How long others may be ahead, here or at the server. */
const LONGEST_QUEUE_MS = 250;
/**
 * What is leased at once for a debt, or for one who asks for much: meanwhile others are sent away.
 */
const LONG_SLICE_MS = 500;
const LONGEST_RETRY_MS = 30_000;

interface Waiting {
  readonly ms: number;
  readonly resolve: (answer: Reservation | Refused) => void;
  readonly reject: (failure: unknown) => void;
}

/** Granted by the server and not used. All points in time are of `performance.now()`. */
interface LeftOver {
  readonly ms: number;
  readonly freshUntil: number;
}

/** @param keyOf where the timeline is kept; asked with each lease */
export function createBudget(
  connection: Connection,
  options: BudgetOptions,
  keyOf: () => string = () => `keymend:budget:${options.link}`,
): Budget {
  return new LeasedBudget(connection, options, keyOf);
}

class LeasedBudget implements Budget {
  readonly slice: number;
  readonly bytesPerOperation: number | undefined;
  readonly #perMs: number;
  /** Those for whom nothing is leased yet; first come, first served. */
  #waiting: Waiting[] = [];
  #leftOver: LeftOver[] = [];
  #debtMs = 0;
  #isLeasing = false;
  /** The end of the last slice. */
  #leasedUntil = 0;
  /** How long an answer usually takes: the shortest lately. */
  #journeyMs: number | null = null;
  /**
   * The part of the timeline that this process gets under backlog, while other workers get theirs.
   */
  #share = 1;
  #refusedUntil = 0;
  /** Up to when this process' share is spoken for by those who were told to come back. */
  #promisedUntil = 0;

  readonly #connection: Connection;
  readonly #keyOf: () => string;
  readonly #warn: (line: string) => void;
  readonly #onWaited: (ms: number, shard: string) => void;
  readonly #onUsed: (operations: number, shard: string) => void;

  constructor(
    connection: Connection,
    { opsPerSecond, bytesPerSecond, warn, onWaited, onUsed }: BudgetOptions,
    keyOf: () => string,
  ) {
    this.#connection = connection;
    this.#keyOf = keyOf;
    this.#warn = warn ?? (() => {});
    this.#onWaited = onWaited ?? (() => {});
    this.#onUsed = onUsed ?? (() => {});
    this.#perMs = (opsPerSecond * PACE_RATIO) / 1_000;
    this.slice = Math.floor(this.#perMs * SLICE_MS);
    this.bytesPerOperation = bytesPerSecond && bytesPerSecond / opsPerSecond;
  }

  async reserve(operations: number): Promise<Reservation | Refused> {
    const now = performance.now();
    const answer = await this.#answer(operations / this.#perMs, now);
    const awayMs = answer.granted ? 0 : answer.retryAfterMs;
    this.#onWaited(performance.now() - now + awayMs, this.#connection.shard);
    return answer;
  }

  async #answer(ms: number, now: number): Promise<Reservation | Refused> {
    if (now < this.#refusedUntil || sum(this.#waiting) / this.#share > LONGEST_QUEUE_MS) return this.#refuse(ms, now);
    return new Promise<Reservation | Refused>((resolve, reject) => {
      this.#waiting.push({ ms, resolve, reject });
      this.#serveFromLeftOver();
      void this.#leaseWhileNeeded();
    });
  }

  #serveFromLeftOver(): void {
    const now = performance.now();
    this.#leftOver = this.#leftOver.filter(({ freshUntil }) => freshUntil > now);
    while (this.#waiting.length > 0 && this.#waiting[0]!.ms <= this.#leftOverMs()) {
      const { ms, resolve } = this.#waiting.shift()!;
      resolve(this.#reservation(ms, this.#takeLeftOver(ms)));
    }
  }

  /** The oldest first. @returns until when all of it is fresh */
  #takeLeftOver(ms: number): number {
    const freshUntil = this.#leftOver[0]?.freshUntil ?? 0;
    let missing = ms;
    while (missing > 0 && this.#leftOver.length > 0) {
      const [oldest] = this.#leftOver.splice(0, 1) as [LeftOver];
      if (oldest.ms > missing) this.#leftOver.unshift({ ...oldest, ms: oldest.ms - missing });
      missing -= oldest.ms;
    }
    return freshUntil;
  }

  #reservation(ms: number, freshUntil: number): Reservation {
    return {
      granted: true,
      settle: (used) => {
        this.#onUsed(used, this.#connection.shard);
        const unusedMs = ms - used / this.#perMs;
        if (unusedMs < 0) this.#debtMs -= unusedMs;
        else this.#keep({ ms: unusedMs, freshUntil });
      },
    };
  }

  #keep(leftOver: LeftOver): void {
    this.#leftOver.push(leftOver);
    this.#serveFromLeftOver();
  }

  /**
   * One lease at a time for all who wait; under backlog just in time for the next slice to follow
   * upon the last.
   */
  async #leaseWhileNeeded(): Promise<void> {
    if (this.#isLeasing) return;
    this.#isLeasing = true;
    while (this.#waiting.length > 0) {
      await until(this.#leasedUntil - AHEAD_MS - this.#usualJourneyMs());
      if (this.#waiting.length > 0) await this.#lease();
    }
    this.#isLeasing = false;
  }

  async #lease(): Promise<void> {
    const slice = SLICE_MS + this.#usualJourneyMs();
    const pieces = this.#takeWaiting(slice);
    const ms = Math.max(slice, sum(pieces));
    const paidMs = Math.min(this.#leftOverMs(), ms * LEFT_OVER_RATIO);
    this.#takeLeftOver(paidMs);
    const debtMs = this.#debtMs;
    const leasedMs = debtMs + ms - paidMs;
    const numbers = [Math.ceil(leasedMs * this.#perMs), this.#perMs, LONGEST_QUEUE_MS].map(String);
    const sentAt = performance.now();
    const key = this.#keyOf();
    const [answer] = await runScript(this.#connection, scripts.lease, [[Buffer.from(key), ...numbers]]);
    if (answer instanceof RedisFailure) {
      for (const { reject } of [...pieces, ...this.#waiting.splice(0)]) reject(answer);
      return;
    }
    const { cells, receivedAtMs } = answer as RowAnswer;
    if (String(cells[2]) === 'foreign') {
      this.#warn(`${key} at ${this.#connection.place} held no budget of keymend, and was replaced by one`);
    }
    const begin = this.#usualArrival(sentAt, receivedAtMs) + Number(cells[1]);
    if (String(cells[0]) === 'refused') return this.#refuseAll(pieces, begin);
    this.#debtMs -= debtMs;
    // At least: when this process stood still, the slice may be over by now.
    const lasts = Math.max(leasedMs, begin + leasedMs - Math.max(this.#leasedUntil, receivedAtMs));
    this.#observeShare(leasedMs / lasts);
    this.#leasedUntil = begin + leasedMs;
    const mustWait = debtMs > LONG_SLICE_MS;
    if (leasedMs > LONG_SLICE_MS) this.#refuseAll(mustWait ? pieces : [], this.#leasedUntil - LONGEST_QUEUE_MS);
    if (!mustWait) this.#grant(pieces, ms, begin + debtMs);
  }

  /** Those whose pieces begin within a slice. */
  #takeWaiting(slice: number): Waiting[] {
    let ms = 0;
    const count = this.#waiting.filter((each) => {
      const begins = ms < slice;
      ms += each.ms;
      return begins;
    }).length;
    return this.#waiting.splice(0, count);
  }

  #grant(pieces: readonly Waiting[], ms: number, begin: number): void {
    let at = begin;
    for (const piece of pieces) {
      void this.#grantAt(at, piece);
      at += piece.ms;
    }
    if (at < begin + ms) void this.#keepFrom(at, begin + ms - at);
  }

  async #grantAt(at: number, piece: Waiting): Promise<void> {
    await until(at);
    const freshUntil = at + FRESH_MS;
    if (performance.now() <= freshUntil) return piece.resolve(this.#reservation(piece.ms, freshUntil));
    // This process stood still: the piece is lost.
    this.#waiting.unshift(piece);
    void this.#leaseWhileNeeded();
  }

  /** What of a slice nobody has asked for. */
  async #keepFrom(at: number, ms: number): Promise<void> {
    await until(at);
    this.#keep({ ms, freshUntil: at + FRESH_MS });
  }

  #refuseAll(pieces: readonly Waiting[], until: number): void {
    this.#refusedUntil = until;
    for (const { ms, resolve } of [...pieces, ...this.#waiting.splice(0)]) resolve(this.#refuse(ms, until));
  }

  /**
   * Each is told a time of its own, in the order of asking and as far apart as this process can
   * serve them.
   */
  #refuse(ms: number, until: number): Refused {
    const now = performance.now();
    const turn = Math.max(until, this.#promisedUntil, now + sum(this.#waiting) / this.#share);
    if (turn - now > LONGEST_RETRY_MS) return { granted: false, retryAfterMs: jittered(LONGEST_RETRY_MS) };
    this.#promisedUntil = turn + ms / this.#share;
    return { granted: false, retryAfterMs: jittered(turn - now) };
  }

  /**
   * When an answer usually would have arrived: one that was held up, or lay here unread, is of a
   * slice that began then.
   */
  #usualArrival(sentAt: number, receivedAt: number): number {
    const took = receivedAt - sentAt;
    const usual = this.#journeyMs ?? took;
    this.#journeyMs = took < usual ? took : usual + (took - usual) / 8;
    return Math.min(receivedAt, sentAt + usual);
  }

  #observeShare(share: number): void {
    this.#share += (Math.min(1, share) - this.#share) / 4;
  }

  #usualJourneyMs(): number {
    return Math.min(this.#journeyMs ?? 0, LONGEST_JOURNEY_MS);
  }

  #leftOverMs(): number {
    const now = performance.now();
    return sum(this.#leftOver.filter(({ freshUntil }) => freshUntil > now));
  }
}

function sum(pieces: readonly { readonly ms: number }[]): number {
  return pieces.reduce((total, { ms }) => total + ms, 0);
}

async function until(at: number): Promise<void> {
  const pause = at - performance.now();
  if (pause > 0) await sleep(pause);
}

/** A little later than asked for, so that several processes do not come at the same moment. */
function jittered(ms: number): number {
  return Math.ceil(ms * (1 + 0.1 * Math.random())) + 1;
}
