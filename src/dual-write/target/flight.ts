/**
 * A unit of writes between the moment it is handed to ioredis and the target's last answer to it.
 */
import type { Socket } from 'node:net';
import { isReplyError } from '../../redis/index.js';
import type { Lifetimes } from './lifetimes.js';
import { compareReplies, compareReply, type MirroredWrite, replyFailure } from './mirror-answers.js';
import { bothDoubts, type MirrorFailure } from './mirror-failure.js';
import { StandIn } from './stand-in.js';
import type { TargetClock } from './target-clock.js';
import type { UsualWay } from './usual-way.js';

/** What all departures of a connection share. */
export interface Line {
  /**
   * Why the last attempt to connect failed, such as `ECONNREFUSED`, `WRONGPASS`, `SELECT: NOPERM`
   * or `CERT_HAS_EXPIRED`.
   */
  connectError: string | undefined;
  /** The server behind the socket says that it is a replica. */
  isReadOnly(socket: Socket | undefined): void;
  /** It has carried out a write. */
  isWritable(): void;
  readonly way: UsualWay;
  readonly clock: TargetClock;
  readonly lifetimes: Lifetimes;
}

/** Flights that left together. */
export interface Departure {
  readonly line: Line;
  /** `performance.now()`, in ms. */
  readonly at: number;
  /** How many of them are still under way. */
  flying: number;
  /** Of all their commands. */
  bytes: number;
  /** Set before the connection is reset because the target did not answer within so many ms. */
  timedOutAfterMs?: number | undefined;
}

/**
 * Told once what became of a unit; undefined: the target did what the source did. Must not throw.
 */
export type Done = (failure: MirrorFailure | undefined) => void;

/** Stands in for each command of a unit. */
export class Flight extends StandIn {
  readonly unit: readonly MirroredWrite[];
  /** How many commands are sent for it. */
  readonly commands: number;
  readonly #departure: Departure;
  readonly #done: Done;
  #unanswered: number;
  #failure: MirrorFailure | undefined;
  #lastReply: unknown;
  /** With another writer's write. */
  #crossing: MirrorFailure | undefined;
  /** When the target had done it at the latest, in `performance.now()`. */
  #doneMs = Number.POSITIVE_INFINITY;

  constructor(unit: readonly MirroredWrite[], departure: Departure, done: Done) {
    super();
    this.unit = unit;
    this.commands = unit.length === 1 ? 1 : unit.length + 2;
    this.#departure = departure;
    this.#done = done;
    this.#unanswered = this.commands;
  }

  resolve = (reply: unknown): void => {
    this.#lastReply = reply;
    this.#answered();
  };

  reject = (error: unknown): void => {
    const failure = this.#failureOf(error);
    // One command was refused, but another may have been carried out: that outweighs.
    if (this.#failure === undefined || (failure.outcome === 'unknown' && this.#failure.outcome === 'refused')) {
      this.#failure = failure;
    }
    this.#answered();
  };

  /** The target did what the source did, as far as it has answered. */
  get isMirrored(): boolean {
    return this.#failure === undefined && this.#compareReplies() === undefined;
  }

  /** It ends only when `marked` was called, once more than before. */
  awaitMarks(): void {
    this.#unanswered += 1;
  }

  /** The marks behind it have no answer; its own commands came to an end before. */
  marksLost(error: unknown): void {
    this.#failure ??= this.#compareReplies() ?? this.#failureOf(error);
    this.#answered();
  }

  /** What the marks behind it have told. @param targetMs the time there, behind its writes */
  marked(crossing: MirrorFailure | undefined, targetMs = Number.NaN): void {
    const { line, at } = this.#departure;
    this.#doneMs = Math.min(this.#doneMs, line.clock.latest(targetMs, at, performance.now()));
    this.#crossing = bothDoubts(this.#crossing, crossing);
    this.#answered();
  }

  #answered(): void {
    this.#unanswered -= 1;
    if (this.#unanswered > 0) return;
    this.#departure.flying -= 1;
    const { line, at } = this.#departure;
    const wrong = this.#failure ?? this.#compareReplies();
    const failure = wrong ?? bothDoubts(line.lifetimes.answered(this.unit, at, this.#doneMs, line.way), this.#crossing);
    if (failure?.error.code === 'READONLY') line.isReadOnly(this.sentOn);
    // A replica carries out a probe too.
    else if (wrong === undefined && this.unit[0]!.write.command !== 'PING') {
      line.isWritable();
      // Once for all that left together.
      if (this.#departure.flying === 0) line.way.took(Math.min(performance.now(), this.#doneMs) - at);
    }
    this.#done(failure);
  }

  #compareReplies(): MirrorFailure | undefined {
    const { unit } = this;
    if (unit.length === 1) return compareReply(unit[0]!, this.#lastReply);
    return compareReplies(unit, this.#lastReply as unknown[]);
  }

  #failureOf(error: unknown): MirrorFailure {
    if (isReplyError(error)) return replyFailure(error);
    if (this.sentOn === undefined) return notSent(this.#departure.line.connectError);
    const { timedOutAfterMs } = this.#departure;
    if (timedOutAfterMs === undefined) return CONNECTION_LOST;
    // It is the first that was not answered. Those behind it only share its connection.
    this.#departure.timedOutAfterMs = undefined;
    return timedOut(timedOutAfterMs);
  }
}

export function notSent(why?: string): MirrorFailure {
  const message = `there was no connection to the target${why ? ` (${why})` : ''}; nothing was sent`;
  return { outcome: 'refused', error: { code: 'NOT_CONNECTED', message } };
}

export const NOT_SENT: MirrorFailure = notSent();

const CONNECTION_LOST: MirrorFailure = {
  outcome: 'unknown',
  error: { code: 'CONNECTION_LOST', message: 'the connection to the target broke before it answered' },
};

function timedOut(timeoutMs: number): MirrorFailure {
  const message = `the target did not answer within ${timeoutMs} ms; the connection was reset`;
  return { outcome: 'unknown', error: { code: 'TIMEOUT', message } };
}

/** Whether the write failed because there was no answer, as opposed to an answer that says no. */
export function isUnreachable({ error }: MirrorFailure): boolean {
  return error.code === 'NOT_CONNECTED' || error.code === 'CONNECTION_LOST' || error.code === 'TIMEOUT';
}
