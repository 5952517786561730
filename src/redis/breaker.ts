/**
 * Whether a server of the target answers at all. While it does not, its keys wait: nothing is sent
 * there but one question now and then, and no attempt is made that could only fail.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { jittered, pauseAfter } from '../patience/pause.js';
import { within } from '../patience/within.js';
import { RedisFailure } from './connection/failure.js';
import type { Deferred, ShardOutage } from './port.js';

/** Told of the outages of a link's target. Must not throw. */
export interface OutageListener {
  /** It has lasted for a moment already: a server that was only restarted is not told of. */
  began(outage: ShardOutage, keysWaiting: () => number): void;
  ended(outage: ShardOutage): void;
}

/** Failures that a server which is away makes. Others can be those of one command. */
const SIGNS: ReadonlySet<string> = new Set(['TIMEOUT', 'CONNECTION', 'LOADING', 'BUSY', 'CLUSTERDOWN']);

export function looksOut({ code }: RedisFailure): boolean {
  return SIGNS.has(code);
}

/** What a connection meets that waiting may mend. Not a host that nobody knows, nor TLS. */
const PASSING: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH', 'ENETDOWN'],
  ...['EAI_AGAIN', 'ENOENT'],
]);

/**
 * Whether a server that was never reached yet is away, and not configured wrongly as far as can be
 * seen.
 */
export function isAway(failure: RedisFailure): boolean {
  return looksOut(failure) && (failure.errno === undefined || PASSING.has(failure.errno));
}

/** Between two questions while it does not answer. */
const PROBE_PAUSES = { firstMs: 250, longestMs: 5_000 };
/** What lasts shorter is told to nobody. */
const TOLD_AFTER_MS = 2_000;
/** An outage that begins so soon behind another one is a flap. */
const FLAPS_WITHIN_MS = 60_000;
/** How long it has to answer behind the first flap; twice as long behind each further one. */
const STEADY = { firstMs: 1_000, longestMs: 30_000 };
/**
 * A key waits about as long as the outage has lasted, between these two: few asks for a long one,
 * and a short one is over soon for the keys, too.
 */
const [LEAST_WAIT_MS, LONGEST_WAIT_MS] = [1_000, 60_000];
/**
 * So far apart the keys of one worker come again: no herd when it answers, and until then no more
 * than leaves the worker to the keys of other servers.
 */
const TURN_MS = 200;
/** Where more keys wait than have turns until then, they come in no order. */
const LAST_TURN_MS = 600_000;
/** How many keys are told apart, each by so many bytes at the end of its name. */
const MOST_COUNTED = 100_000;
const COUNTED_BY_BYTES = 64;

/** One for each server, by its name: behind a new connection it is the same. */
export class Breakers {
  readonly #all = new Map<string, Breaker>();
  readonly #listener: OutageListener;

  constructor(listener: OutageListener) {
    this.#listener = listener;
  }

  of(shard: string, probe: Probe): Breaker {
    let breaker = this.#all.get(shard);
    if (breaker === undefined) {
      breaker = new Breaker(shard, probe, this.#listener);
      this.#all.set(shard, breaker);
    }
    return breaker;
  }

  close(): void {
    for (const breaker of this.#all.values()) breaker.close();
  }
}

/** A server that is there answers a PING sooner; a first attempt has 5 s for a command and this. */
const PROBE_MS = 1_500;

/**
 * What a question to a server has come to.
 * @param replies of `Connection.send`
 * @param read more that they say; null: nothing
 * @returns why it is out; null: any other answer is one
 */
export async function askedSoon(
  replies: Promise<readonly unknown[]>,
  read: (replies: readonly unknown[]) => RedisFailure | null = () => null,
): Promise<RedisFailure | null> {
  const answers = await within(PROBE_MS, replies);
  if (answers === 'late') return new RedisFailure('TIMEOUT', 'no answer in time');
  const out = answers.find((reply) => reply instanceof RedisFailure && looksOut(reply));
  return (out as RedisFailure | undefined) ?? read(answers);
}

type Probe = () => Promise<RedisFailure | null>;

interface Open {
  readonly outage: ShardOutage;
  readonly keys: Set<string>;
  promisedUntil: number;
  told: boolean;
}

export class Breaker {
  #open: Open | null = null;
  /** Set while the server is asked after a failure: all who had one wait for the same answer. */
  #asking: Promise<RedisFailure | null> | null = null;
  #flaps = 0;
  #closedAt = Number.NEGATIVE_INFINITY;
  readonly #end = new AbortController();

  readonly #shard: string;
  readonly #probe: Probe;
  readonly #listener: OutageListener;

  /**
   * @param probe one question that every server answers at once; resolves with why it does not, if
   *   that `looksOut`. Never rejects
   */
  constructor(shard: string, probe: Probe, listener: OutageListener) {
    this.#shard = shard;
    this.#probe = probe;
    this.#listener = listener;
  }

  /** The server is taken for away. */
  get isOpen(): boolean {
    return this.#open !== null;
  }

  /**
   * To be asked before anything is sent for these keys.
   * @param turns how many come again, each by itself
   * @returns null: it answers, as far as is known
   */
  waits(keys: readonly Buffer[], turns = keys.length): Deferred | null {
    const open = this.#open;
    if (open === null) return null;
    const now = performance.now();
    const lasted = Date.now() - open.outage.since;
    const wait = Math.min(Math.max(lasted, LEAST_WAIT_MS), LONGEST_WAIT_MS);
    for (const key of keys) {
      if (open.keys.size < MOST_COUNTED)
        open.keys.add(key.toString('latin1', Math.max(0, key.length - COUNTED_BY_BYTES)));
    }
    const turn = Math.max(now + wait, open.promisedUntil + TURN_MS * turns);
    if (turn - now <= LAST_TURN_MS) open.promisedUntil = turn;
    const retryAfterMs = turn - now <= LAST_TURN_MS ? turn - now : wait + Math.random() * (LAST_TURN_MS - wait);
    return { kind: 'deferred', retryAfterMs: Math.ceil(retryAfterMs), outage: open.outage };
  }

  /**
   * To be told of a failure that `looksOut`: it may have been one slow command, or one connection.
   * So the server is asked once more.
   * @returns null: it answers
   */
  async suspect(keys: readonly Buffer[], turns = keys.length): Promise<Deferred | null> {
    const since = Date.now();
    if (this.#open === null) {
      this.#asking ??= this.#probe().finally(() => {
        this.#asking = null;
      });
      const failure = await this.#asking;
      // All who had waited for the answer come here one behind the other.
      if (failure !== null && this.#open === null) this.#opens({ shard: this.#shard, since, reason: failure.message });
    }
    return this.waits(keys, turns);
  }

  /** Nobody asks the server any more. */
  close(): void {
    this.#end.abort();
  }

  #opens(outage: ShardOutage): void {
    if (this.#end.signal.aborted) return;
    const isFlap = performance.now() - this.#closedAt < FLAPS_WITHIN_MS;
    this.#flaps = isFlap ? this.#flaps + 1 : 0;
    this.#open = { outage, keys: new Set(), promisedUntil: 0, told: false };
    void this.#untilSteady(this.#open);
  }

  async #untilSteady(open: Open): Promise<void> {
    const steadyMs = this.#flaps === 0 ? 0 : pauseAfter(this.#flaps, STEADY);
    const { signal } = this.#end;
    for (let failed = 1, answersSince: number | null = null; ; ) {
      const pause = answersSince === null ? pauseAfter(failed, PROBE_PAUSES) : PROBE_PAUSES.firstMs;
      await sleep(jittered(pause), undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted) return;
      const failure = await this.#probe();
      const now = performance.now();
      if (failure !== null) {
        failed += 1;
        answersSince = null;
      } else {
        answersSince ??= now;
        if (now - answersSince >= steadyMs) break;
      }
      this.#tell(open);
    }
    this.#closedAt = performance.now();
    this.#open = null;
    if (open.told) this.#listener.ended(open.outage);
  }

  #tell(open: Open): void {
    if (open.told || Date.now() - open.outage.since < TOLD_AFTER_MS) return;
    open.told = true;
    this.#listener.began(open.outage, () => open.keys.size);
  }
}
