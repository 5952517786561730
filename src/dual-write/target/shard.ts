/**
 * One master of the target: what may be on its way there is bounded, and nothing is sent while it
 * does not answer.
 */
import type { Redis } from 'ioredis';
import { Breaker, type BreakerOptions, type BreakerState } from './breaker.js';
import { type Done, isUnreachable } from './flight.js';
import { Marks, type MarksChange } from './marks.js';
import type { MirroredWrite } from './mirror-answers.js';
import { MirrorConnection } from './mirror-connection.js';
import type { MirrorFailure } from './mirror-failure.js';

/** How much may wait for one shard; beyond it writes become failed-write records at once. */
export interface ShardBounds {
  /** Writes sent and not answered yet. Default 5,000. */
  readonly inFlight: number;
  /** Writes that wait to be sent. Default 20,000. */
  readonly queued: number;
  /** Bytes of the arguments of both. Default 64 MiB. */
  readonly bytes: number;
}

export const DEFAULT_BOUNDS: ShardBounds = { inFlight: 5_000, queued: 20_000, bytes: 64 * 1024 * 1024 };

/** What one shard is doing. */
export interface ShardStats {
  /**
   * The master: `host:port`, the path of its socket, or its name among Sentinels. `the Cluster`:
   * none of its masters could be asked for yet.
   */
  readonly shard: string;
  readonly connected: boolean;
  readonly breaker: BreakerState;
  readonly inFlight: number;
  readonly queued: number;
  /** Writes that were mirrored without a mark of their writer. */
  readonly unmarked: number;
}

/** `reason`: one line, without anything of the application's data. */
export type BreakerChange =
  | { readonly shard: string; readonly state: 'open'; readonly reason: string }
  | { readonly shard: string; readonly state: 'closed'; readonly reason?: undefined };

export interface ShardOptions {
  readonly name: string;
  readonly client: Redis;
  readonly bounds: ShardBounds;
  readonly breaker: BreakerOptions;
  readonly onBreaker: (change: BreakerChange) => void;
  /** Whether the present connection of a client ends at the source, under another name. */
  readonly isSource: (client: Redis) => boolean;
  /** Tells the writer from all others. */
  readonly writer: string;
  readonly onMarks: (change: MarksChange) => void;
  readonly isOfCluster: boolean;
  /** Called before each probe of a target that does not answer. */
  readonly onProbe?: () => void;
}

interface Unit {
  readonly writes: readonly MirroredWrite[];
  readonly bytes: number;
  readonly done: Done;
}

export class Shard {
  readonly name: string;
  readonly #client: Redis;
  readonly #connection: MirrorConnection;
  readonly #marks: Marks;
  readonly #bounds: ShardBounds;
  readonly #breaker: Breaker;
  readonly #queue: Unit[] = [];
  #queued = 0;
  #inFlight = 0;
  #bytes = 0;
  #lastFailure = '';
  /** How often a connection has ended, or did not come about. */
  #ended = 0;
  /** The end that the breaker was told of. */
  #told = 0;

  constructor({ name, client, bounds, breaker, onBreaker, onProbe, ...options }: ShardOptions) {
    this.name = name;
    this.#client = client;
    this.#bounds = bounds;
    this.#marks = new Marks(options.writer, name, options.onMarks);
    this.#connection = new MirrorConnection(client, { ...options, marks: this.#marks });
    for (const end of ['close', 'error']) client.on(end, () => (this.#ended += 1));
    const probe = () => {
      onProbe?.();
      return this.#connection.ping();
    };
    this.#breaker = new Breaker(breaker, probe, (state) => {
      if (state === 'open') this.#failQueue(BREAKER_OPEN);
      onBreaker(state === 'open' ? { shard: name, state, reason: this.#lastFailure } : { shard: name, state });
    });
  }

  get stats(): ShardStats {
    return {
      shard: this.name,
      connected: this.#client.status === 'ready',
      breaker: this.#breaker.state,
      inFlight: this.#inFlight,
      queued: this.#queued,
      unmarked: this.#marks.unmarked,
    };
  }

  /** Sends writes as one unit behind all units before, or refuses them at once. */
  send(writes: readonly MirroredWrite[], done: Done): void {
    const unit = { writes, bytes: bytesOf(writes), done };
    const goesAtOnce = this.#queue.length === 0 && this.#hasRoomFor(unit);
    const refusal = this.#refusalOf(unit, goesAtOnce);
    if (refusal !== undefined) {
      done(refusal);
      return;
    }
    this.#bytes += unit.bytes;
    if (goesAtOnce) {
      this.#transmit(unit);
      return;
    }
    this.#queued += writes.length;
    this.#queue.push(unit);
  }

  /** Gives up what waits and what is in flight. @param why what waits is not sent */
  abandon(why: MirrorFailure = CLOSED): void {
    this.#failQueue(why);
    this.#connection.reset();
  }

  /** Ends the probing. */
  stop(): void {
    this.#breaker.stop();
  }

  /** A transaction larger than the bound goes alone. */
  #hasRoomFor({ writes }: Unit): boolean {
    return this.#inFlight === 0 || this.#inFlight + writes.length <= this.#bounds.inFlight;
  }

  #refusalOf({ writes, bytes }: Unit, goesAtOnce: boolean): MirrorFailure | undefined {
    if (this.#breaker.state === 'open') return BREAKER_OPEN;
    if (this.#bytes > 0 && this.#bytes + bytes > this.#bounds.bytes) return OVERLOADED;
    return goesAtOnce || this.#queued + writes.length <= this.#bounds.queued ? undefined : OVERLOADED;
  }

  #transmit(unit: Unit): void {
    this.#inFlight += unit.writes.length;
    this.#connection.send(unit.writes, (failure) => {
      this.#inFlight -= unit.writes.length;
      this.#bytes -= unit.bytes;
      if (failure !== undefined && isUnreachable(failure)) this.#unreachable(failure);
      else this.#breaker.succeeded();
      unit.done(failure);
      this.#sendQueue();
    });
  }

  /**
   * One failure for each end of a connection, however many writes were on it or met none
   * afterwards. Those that were on it are told before the end is.
   */
  #unreachable({ error }: MirrorFailure): void {
    this.#lastFailure = error.message;
    const end = error.code === 'NOT_CONNECTED' ? this.#ended : this.#ended + 1;
    if (end <= this.#told) return;
    this.#told = end;
    this.#breaker.failed();
  }

  #sendQueue(): void {
    while (this.#queue[0] !== undefined && this.#hasRoomFor(this.#queue[0])) {
      const unit = this.#queue.shift()!;
      this.#queued -= unit.writes.length;
      this.#transmit(unit);
    }
  }

  #failQueue(failure: MirrorFailure): void {
    this.#queued = 0;
    for (const { bytes, done } of this.#queue.splice(0)) {
      this.#bytes -= bytes;
      done(failure);
    }
  }
}

// `refused`, although older writes of the key may be under way. No settling time would be long
// enough for those, and `unknown` would cost thousands of keys a second comparison while the target
// is at its limit. When such an older write lands, it gets a record of its own.
const BREAKER_OPEN: MirrorFailure = {
  outcome: 'refused',
  error: { code: 'BREAKER_OPEN', message: 'the target did not answer several times in a row; nothing was sent' },
};

const OVERLOADED: MirrorFailure = {
  outcome: 'refused',
  error: { code: 'OVERLOADED', message: 'the target is too slow: too much already waits for it; nothing was sent' },
};

const CLOSED: MirrorFailure = {
  outcome: 'refused',
  error: { code: 'CLOSED', message: 'the application closed before it was sent to the target' },
};

function bytesOf(writes: readonly MirroredWrite[]): number {
  let bytes = 0;
  for (const { replay } of writes) for (const argument of replay.args) bytes += argument.length;
  return bytes;
}
