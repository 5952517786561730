/**
 * Takes each write that the source has carried out to the target, in the order of the source's
 * replies.
 */
import type { FailedWrite } from '../../workflows/failed-write.js';
import { Backlog } from './backlog.js';
import type { CallWaitsFor, Recorder } from './records/recorder.js';
import type { Intents } from './source/intents.js';
import type { AcceptedWrite } from './source/source-listener.js';
import type { Write } from './source/write.js';
import type { MirroredWrite } from './target/mirror-answers.js';
import type { MirrorFailure } from './target/mirror-failure.js';
import { planMirror } from './target/mirror-plan.js';
import type { Target } from './target/target.js';
import { UsualWay } from './target/usual-way.js';

interface MirroringOptions {
  readonly target: Pick<Target, 'send'>;
  readonly recorder: Recorder;
  /** In transactional mode. */
  readonly intents: Pick<Intents, 'conclude'> | undefined;
  /**
   * Whether the application's calls wait until the target has their writes, or a sink the records.
   */
  readonly callsWait: boolean;
}

/** What the source did as one unit. */
interface Replied {
  readonly unit: readonly AcceptedWrite[];
  /** In `performance.now()`. */
  readonly repliedMs: number;
  /** As of a `MirroredWrite`. */
  readonly heldMs: number;
  /** Its place in the order of the source's replies, which is that of the mirror too. */
  readonly number: number;
}

export class Mirroring {
  readonly #target: MirroringOptions['target'];
  readonly #recorder: Recorder;
  readonly #intents: MirroringOptions['intents'];
  readonly #callsWait: boolean;
  /** What the source did, in the order of its replies, and what is not followed yet. */
  readonly #backlog = new Backlog<Replied>((replied) => this.#follow(replied));
  /** Units that the source has carried out, or of which that will never be known. */
  #replies = 0;
  /** Parts of units that the target has not answered yet. */
  #inFlight = 0;
  #mirrored = 0;
  readonly #whenAnswered: (() => void)[] = [];
  readonly #sourceWay = new UsualWay();
  /** Since when the writes were given to the source that left together last, and when they left. */
  #givenMs = Number.POSITIVE_INFINITY;
  #leftMs = Number.NEGATIVE_INFINITY;
  #isLeaving = false;
  /** When the last turn of the event loop with any of this ended, and the one before it. */
  #turnMs = Number.NEGATIVE_INFINITY;
  #turnBeforeMs = Number.NEGATIVE_INFINITY;
  #isInTurn = false;

  constructor({ target, recorder, intents, callsWait }: MirroringOptions) {
    this.#target = target;
    this.#recorder = recorder;
    this.#intents = intents;
    this.#callsWait = callsWait;
  }

  /** How many parts of units the target has carried out as the source did. */
  get mirrored(): number {
    return this.#mirrored;
  }

  /**
   * How many parts of units, and units not followed yet, the target has not answered; and how many
   * writes are held back for a record that stands for several.
   */
  get inFlight(): number {
    return this.#inFlight + this.#backlog.size + this.#recorder.heldBack;
  }

  /**
   * The application gives a write to the source; it leaves behind what runs now and its microtasks.
   */
  sent(sinceMs: number): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#givenMs = sinceMs;
    process.nextTick(this.#leave);
    this.#inTurn();
  }

  readonly #leave = (): void => {
    this.#isLeaving = false;
    this.#leftMs = performance.now();
  };

  /** The source has carried out a unit. */
  accepted(unit: readonly AcceptedWrite[]): CallWaitsFor {
    const replied = { unit, ...this.#reply(unit[0]!.sinceMs), number: this.#nextNumber() };
    if (!this.#callsWait) {
      this.#backlog.add(replied);
      return undefined;
    }
    // The application waits for it: it follows at once.
    const outcomes: CallWaitsFor[] = [];
    this.#follow(replied, outcomes);
    return Promise.all(outcomes).then(() => {});
  }

  /**
   * Whether the source carries out the writes will never be known, so they are recorded. Their
   * intents stay.
   */
  unknown(writes: readonly Write[], failure: MirrorFailure): FailedWrite[] {
    return this.#recorder.unknown(writes, failure, this.#nextNumber());
  }

  /** Follows at once what the source did so far, and holds back no record. */
  catchUp(): void {
    this.#backlog.drain();
    this.#recorder.flush();
  }

  /** Resolves when nothing waits for the target any more. */
  async idle(): Promise<void> {
    this.catchUp();
    while (this.#inFlight > 0) await new Promise<void>((resolve) => this.#whenAnswered.push(resolve));
    this.#recorder.flush();
  }

  /**
   * A reply has come. What it may have waited for a process that was busy shows in how long ago its
   * write left, and in how long it may have been there unread.
   */
  #reply(sinceMs: number): { repliedMs: number; heldMs: number } {
    const repliedMs = performance.now();
    this.#inTurn();
    const leftMs = sinceMs < this.#givenMs ? sinceMs : this.#leftMs;
    const heldMs = this.#sourceWay.beyond(repliedMs - Math.max(leftMs, this.#turnBeforeMs));
    this.#sourceWay.took(repliedMs - sinceMs);
    return { repliedMs, heldMs };
  }

  /**
   * What had come when a turn ended is read in the next one. So what is read now may have come
   * since the turn before the last, whatever else was read or sent since then.
   */
  #inTurn(): void {
    if (this.#isInTurn) return;
    this.#isInTurn = true;
    setImmediate(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#isInTurn = false;
    this.#turnBeforeMs = this.#turnMs;
    this.#turnMs = performance.now();
  };

  #nextNumber(): number {
    this.#replies += 1;
    return this.#replies;
  }

  /**
   * Mirrors or records what the source did as one unit.
   * @param outcomes is added what rejects when that can't be done
   */
  #follow({ unit, repliedMs, heldMs, number }: Replied, outcomes?: CallWaitsFor[]): void {
    const toMirror: MirroredWrite[] = [];
    for (const { write, reply, resent, sinceMs } of unit) {
      const plan = planMirror(write, reply, resent);
      if (plan.kind === 'replay') toMirror.push({ write, reply, sinceMs, repliedMs, heldMs, replay: plan.replay });
      else if (plan.kind === 'nothing') this.#intents?.conclude([write]);
      else {
        const recorded = this.#recorder.failed([write], notMirrored(plan.reason), number);
        outcomes?.push(recorded);
      }
    }
    if (toMirror.length === 0) return;
    this.#target.send(toMirror, (part) => {
      this.#inFlight += 1;
      if (!outcomes) return (failure) => void this.#answered(part, failure, number);
      let resolve!: (outcome: CallWaitsFor) => void;
      outcomes.push(new Promise((settle) => (resolve = settle)));
      return (failure) => resolve(this.#answered(part, failure, number));
    });
  }

  /**
   * From the flight to its records in one synchronous stretch: at no moment must it be in neither.
   */
  #answered(part: readonly MirroredWrite[], failure: MirrorFailure | undefined, number: number): CallWaitsFor {
    this.#inFlight -= 1;
    const outcome = this.#outcomeOf(part, failure, number);
    if (this.#inFlight === 0) for (const resolve of this.#whenAnswered.splice(0)) resolve();
    return outcome;
  }

  #outcomeOf(part: readonly MirroredWrite[], failure: MirrorFailure | undefined, number: number): CallWaitsFor {
    if (failure && !failure.doubt) return this.#recorder.failed(writesOf(part), failure, number);
    this.#mirrored += 1;
    if (failure) return this.#recorder.inDoubt(writesOf(part), failure, number);
    return this.#recorder.mayConcern(number) ? this.#recorder.mirrored(writesOf(part), number) : undefined;
  }
}

function writesOf(part: readonly MirroredWrite[]): Write[] {
  return part.map(({ write }) => write);
}

function notMirrored(reason: string): MirrorFailure {
  // Earlier writes of the key may still be on their way to the target: hence `unknown`, which is
  // settled and verified.
  return { outcome: 'unknown', error: { code: 'NOT_MIRRORED', message: reason } };
}
