/**
 * The budget of a link at one shard of its target: how many operations a second all workers together may execute there.
 *
 * Operation: a command executed at the server as INFO commandstats counts it, so each one that a script calls, too.
 * Lease: operations granted to this process by the server, for all its attempts, to be used soon.
 * Slice: the smallest lease that is asked for, so that a lease serves many small attempts.
 *
 * Guarantee, while the link's workers use the same figure: in no second more than 1.05 times `opsPerSecond`, except for a
 * single `take` larger than that. It holds when operations are sent as soon as they are granted; what
 * `docs/decisions/0001-budget.md` says about the algorithm, its formula and what was measured.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from './connection.js';
import { RedisFailure } from './failure.js';
import { type Row, scripts } from './script.js';
import { runScript } from './script-runner.js';

/** `refused`: others are ahead for longer than it makes sense to wait here. */
export type Grant = Granted | { readonly granted: false; readonly retryAfterMs: number };

export interface Granted {
  readonly granted: true;
}

export interface Budget {
  /**
   * Asks for operations that are executed at once when they are granted. Waits for its turn when that is near: up to
   * about 0.3 s in a queue, plus up to 1.1 s for a request that is a large part of a second's budget. One that is
   * larger than that is granted too, and nobody gets anything until it is paid off.
   * @param operations at least 1
   * @throws RedisFailure when the target can't be asked
   */
  take(operations: number): Promise<Grant>;

  /** Gives back what was taken and never will be used; worth nothing a second later. */
  giveBack(grant: Granted, operations: number): void;
}

export interface BudgetOptions {
  readonly link: string;
  /** The shard's share: the figure for the whole target divided by its shards. */
  readonly opsPerSecond: number;
}

/** In front of the names of the only keys of ours at a target, one for each link with a busy budget. */
export const BUDGET_KEY_PREFIX = 'keymend:budget:';

/** Operations are used within this time or given back, so that they can't pile up to a burst. */
const HOLD_MS = 60;
/** How much longer than usual an operation may travel. */
const DELAY_MS = 20;
/** What is executed within one second was leased within this time. */
const WINDOW_MS = 1_000 + HOLD_MS + DELAY_MS;
/** Of `opsPerSecond` in one window. Below 1.05 for what can't be charged: connecting, sending a script anew. */
const LIMIT_RATIO = 1.04;
/** In ms of the budget. */
const SLICE_MS = 20;
const LARGEST_LEASE_MS = 50;
const LONGEST_LEASE_MS = 250;
/** How long others may be ahead at the server. */
const LONGEST_QUEUE_MS = 200;
/** Part of the time to wait that is added at random. */
const JITTER = 0.1;

interface Lease {
  /** Its name at the server. */
  readonly id: number;
  readonly expiresAt: number;
  readonly forgottenAt: number;
  unused: number;
}

interface Waiting {
  readonly operations: number;
  readonly resolve: (grant: Grant) => void;
  readonly reject: (failure: unknown) => void;
}

/**
 * @param connection to the shard; its own or shared with other work
 */
export function createBudget(connection: Connection, options: BudgetOptions): Budget {
  return new LeasedBudget(connection, options);
}

/** All times are of `performance.now()`, durations in ms. */
class LeasedBudget implements Budget {
  readonly #connection: Connection;
  readonly #key: Buffer;
  readonly #limit: number;
  readonly #perMs: number;
  /** Oldest first. */
  #leases: Lease[] = [];
  readonly #granted = new WeakMap<Granted, { readonly lease: Lease; operations: number }>();
  /** First come, first served. */
  readonly #waiting: Waiting[] = [];
  #isLeasing = false;
  /** Until then the server would refuse: nobody asks it. */
  #refusedUntil = 0;
  /** Up to when the budget is spoken for by those who were told to come back. */
  #promisedUntil = 0;
  #usualRoundTripMs = Number.POSITIVE_INFINITY;

  constructor(connection: Connection, { link, opsPerSecond }: BudgetOptions) {
    this.#connection = connection;
    this.#key = Buffer.from(`${BUDGET_KEY_PREFIX}${link}`);
    this.#limit = Math.max(1, Math.floor(opsPerSecond * LIMIT_RATIO));
    this.#perMs = this.#limit / WINDOW_MS;
  }

  async take(operations: number): Promise<Grant> {
    if (!Number.isSafeInteger(operations) || operations < 1) {
      throw new RangeError(`can't take ${operations} operations: give a whole number of at least 1`);
    }
    const now = performance.now();
    const lease = this.#waiting.length === 0 ? this.#usable(operations) : undefined;
    if (lease !== undefined) return this.#grant(lease, operations);
    if (now < this.#refusedUntil) return this.#refuse(operations, this.#refusedUntil);
    const queued = this.#waiting.reduce((sum, waiting) => sum + waiting.operations, 0);
    if (queued > 0 && queued + operations > 2 * this.#largestLease()) {
      return this.#refuse(operations, now + queued / this.#perMs);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operations, resolve, reject });
      void this.#leaseWhileWaiting();
    });
  }

  giveBack(grant: Granted, operations: number): void {
    const taken = this.#granted.get(grant);
    if (taken === undefined || operations < 0 || operations > taken.operations) {
      throw new RangeError(`can't give back ${operations} operations: only what this grant still holds`);
    }
    taken.operations -= operations;
    taken.lease.unused += operations;
    this.#serve();
  }

  /** One lease at a time, whoever asked for it. The next one is asked for when this one's turn has come. */
  async #leaseWhileWaiting(): Promise<void> {
    if (this.#isLeasing) return;
    this.#isLeasing = true;
    try {
      while (this.#waiting.length > 0) await this.#lease();
    } catch (failure) {
      for (const { reject } of this.#waiting.splice(0)) reject(failure);
    } finally {
      this.#isLeasing = false;
    }
  }

  async #lease(): Promise<void> {
    const sentAt = performance.now();
    const wanted = this.#leaseSize();
    const numbers = [wanted, this.#limit, WINDOW_MS, LONGEST_QUEUE_MS, ...this.#takeUnused(sentAt)];
    const row: Row = [this.#key, ...numbers.map(String)];
    const [answer] = await runScript(this.#connection, scripts.lease, [row]);
    if (answer instanceof RedisFailure) throw answer;
    const { cells, receivedAtMs } = answer as Exclude<typeof answer, 'deferred' | undefined>;
    const [outcome, wait, id] = [String(cells[0]), Number(cells[1]), Number(cells[2])];
    if (outcome === 'refused') {
      this.#refusedUntil = receivedAtMs + wait;
      for (const { operations, resolve } of this.#waiting.splice(0)) {
        resolve(this.#refuse(operations, this.#refusedUntil));
      }
      return;
    }
    // An answer that was long on its way, or lay here unread, is of a lease as old as that.
    this.#observeRoundTrip(receivedAtMs - sentAt);
    const expiresAt = sentAt + this.#usualRoundTripMs + wait + HOLD_MS;
    this.#leases.push({ id, unused: wanted, expiresAt, forgottenAt: expiresAt + WINDOW_MS });
    if (wait > 0) await sleep(wait);
    this.#serve();
  }

  #serve(): void {
    for (;;) {
      const [next] = this.#waiting;
      const lease = next && this.#usable(next.operations);
      if (lease === undefined) return;
      this.#waiting.shift();
      next!.resolve(this.#grant(lease, next!.operations));
    }
  }

  #usable(operations: number): Lease | undefined {
    const now = performance.now();
    return this.#leases.find(({ unused, expiresAt }) => unused >= operations && now < expiresAt);
  }

  #grant(lease: Lease, operations: number): Granted {
    const grant: Granted = { granted: true };
    lease.unused -= operations;
    this.#granted.set(grant, { lease, operations });
    return grant;
  }

  /** Each is told a time of its own, in the order of asking and as far apart as the budget needs. */
  #refuse(operations: number, until: number): Grant {
    const now = performance.now();
    const turn = Math.max(until, this.#promisedUntil);
    this.#promisedUntil = turn + operations / this.#perMs;
    return { granted: false, retryAfterMs: Math.ceil((turn - now) * (1 + JITTER * Math.random())) };
  }

  /** What those who wait need, the first in any case; at least a slice. */
  #leaseSize(): number {
    const most = this.#largestLease();
    let size = 0;
    for (const { operations } of this.#waiting) {
      if (size > 0 && size + operations > most) break;
      size += operations;
    }
    return Math.max(size, Math.ceil(this.#perMs * SLICE_MS));
  }

  /** A lease must last until the next one arrives. */
  #largestLease(): number {
    const lasts = Number.isFinite(this.#usualRoundTripMs) ? this.#usualRoundTripMs : 0;
    return this.#perMs * Math.min(LONGEST_LEASE_MS, Math.max(LARGEST_LEASE_MS, lasts));
  }

  /** What has expired unused goes back to the server, as pairs of lease and operations. */
  #takeUnused(now: number): number[] {
    this.#leases = this.#leases.filter(({ forgottenAt }) => now < forgottenAt);
    const expired = this.#leases.filter(({ unused, expiresAt }) => unused > 0 && now >= expiresAt);
    return expired.flatMap((lease) => {
      const { id, unused } = lease;
      lease.unused = 0;
      return [id, unused];
    });
  }

  /** Follows a shorter one at once and a longer one slowly, so that a single delay does not pass for usual. */
  #observeRoundTrip(ms: number): void {
    this.#usualRoundTripMs = ms < this.#usualRoundTripMs ? ms : this.#usualRoundTripMs * 0.8 + ms * 0.2;
  }
}
