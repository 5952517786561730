/**
 * The state of one run of `reconcileKey` and what the messages do to it. Handlers only set state;
 * the workflow's loop is the one place that acts on it, so no two pieces of code reconcile the same
 * key at once. What has a life of its own is in files of its own (`asks.ts`, `cancel.ts`,
 * `letters.ts`, `pending.ts`, `vouch.ts`); what is left is the fields and who may change them.
 */

import { patched, setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { EscalationLook, EscalationSight, ReconcileRequest } from './activities.js';
import { Asks } from './asks.js';
import { Cancel } from './cancel.js';
import { describeStatus } from './details.js';
import { Letters } from './letters.js';
import {
  DEFAULT_POLICY,
  type FailedWrite,
  type KeyStatus,
  type LastError,
  type LinkPolicy,
  type Outcome,
  type ReconcileKeyResult,
  type ShardOutage,
  type SidesSeen,
  type State,
  type Tried,
} from './messages.js';
import { demand, Incoming, isNothing, NOTHING_PENDING, putBack, takeRound } from './pending.js';
import { type CarriedState, NO_ATTRIBUTES, type Pending, type RunInput, type ShownAttributes } from './run-state.js';
import { OwnKey } from './same-key.js';
import { withTried } from './tried.js';
import { Vouch } from './vouch.js';

const HISTORY_EVENTS_PER_RUN = 4_000;
/** For so long after an escalation, writes arrive that had failed before it. */
const ON_THEIR_WAY_MS = 10_000;

/** What stops a wait or a durable attempt before its end. */
export type Interruption = 'cancel' | 'skip' | 'retry' | 'continueAsNew';

/** As it is when nothing has been done yet. */
const NEW: CarriedState = {
  pending: NOTHING_PENDING,
  escalation: 'none',
  attempts: 0,
  lastOutcome: null,
  allowDeleteUntil: null,
  triesBegunAt: null,
  unverifiedSince: null,
  repaired: false,
  lastError: null,
};

export class KeyRun {
  readonly policy: LinkPolicy;
  escalation: CarriedState['escalation'];
  lastError: LastError | null;
  /** The search attributes as they were written last. */
  shown: ShownAttributes;
  /** What the round under way does not cover. */
  #pending: Incoming;
  /** What the round under way covers; null between rounds. */
  #round: Pending | null = null;
  /** What the last round that ended was for. */
  #ended: Pending = NOTHING_PENDING;
  #state: State = 'settling';
  #attempts: number;
  #lastOutcome: Outcome | null;
  #repaired: boolean;
  #nextRetry: number | null = null;
  #outage: ShardOutage | null = null;
  #retryAsked = false;
  readonly #vouch: Vouch;
  triesBegunAt: number | null;
  unverifiedSince: number | null;
  /** The round under way has written the target, in whichever of its attempts. */
  hasRepaired: boolean;
  /** Whatever the failed writes were, what the round has written is to be compared again. */
  mustLookAgain: boolean;
  /** In ms since the epoch; a run that goes on for another one has forgotten it. */
  #escalatedAt = Number.NEGATIVE_INFINITY;
  #wakes = false;
  readonly #cancel: Cancel;
  #skipAsked: string | null = null;
  #skipReason: string | null = null;
  readonly asks = new Asks();
  readonly letters: Letters;
  #tried: readonly Tried[];
  #sides: SidesSeen | null;

  /** null: a signal that comes now did not come with the start. */
  #begunAt: number | null;

  readonly #input: RunInput;
  readonly #ownKey: OwnKey;

  constructor(input: RunInput) {
    this.#input = input;
    this.#ownKey = new OwnKey(input);
    const carried: CarriedState = { ...NEW, ...input.carried };
    this.policy = input.policy ?? DEFAULT_POLICY;
    this.#cancel = new Cancel(input.carried === undefined);
    this.#pending = new Incoming(carried.pending);
    this.escalation = carried.escalation;
    this.#attempts = carried.attempts;
    // A run of an earlier version shows what it is, and no error.
    const isEscalated = this.escalation !== 'none';
    this.shown = carried.shown ?? { ...NO_ATTRIBUTES, state: isEscalated ? 'escalated' : null };
    this.#vouch = new Vouch(carried.allowDeleteUntil);
    this.hasRepaired = carried.hasRepaired ?? false;
    this.mustLookAgain = carried.mustLookAgain ?? false;
    this.triesBegunAt = carried.triesBegunAt;
    this.unverifiedSince = carried.unverifiedSince;
    this.#lastOutcome = carried.lastOutcome;
    this.#repaired = carried.repaired;
    this.lastError = carried.lastError;
    this.#retryAsked = carried.retryAsked ?? false;
    this.letters = new Letters(carried);
    this.#begunAt = input.carried === undefined ? Date.now() : null;
    this.#tried = carried.tried ?? [];
    this.#sides = carried.sides ?? null;
    // One that was started by hand says nothing; here, in front of everything, `patched` is right.
    const isByHand = input.policy === undefined;
    this.isOfEarlierVersion = input.version === undefined && !(isByHand && patched('version-2'));
    // It takes all that is carried: nothing had come behind it.
    if (carried.skipAsked != null) this.askSkip(carried.skipAsked);
  }

  /**
   * Its history was begun by a version that did otherwise. Not asked by `patched`: that answers
   * wrongly in a replay, if it is called behind a local activity whose task was split by a query.
   * Workers are upgraded before bridges, so no earlier worker begins a run of this version.
   */
  readonly isOfEarlierVersion: boolean;

  /** What a person has asked for is acted on in a task of its own. */
  get actsInOwnTask(): boolean {
    return this.#input.version === 3;
  }

  // What messages do.

  /** @returns those that are for another key: a store that takes two IDs for one brings them */
  add(events: FailedWrite[]): readonly FailedWrite[] {
    const mine: FailedWrite[] = [];
    const misled: FailedWrite[] = [];
    for (const event of Array.isArray(events) ? events : [events]) {
      if (typeof event?.key !== 'string' || this.#ownKey.is(event)) mine.push(event);
      else misled.push(event);
    }
    this.#pending.add(mine, this.policy, Date.now(), this.#toldAt());
    this.#wakes ||= mine.some((event) => this.#isOfNow(event));
    this.#cancel.noteWrites();
    return misled;
  }

  /**
   * When the signal that is being handled was sent, at the latest. That of the start has waited for
   * as long as the start was delayed, which is what was left of `settle`.
   */
  #toldAt(): number {
    const now = Date.now();
    const cameWithStart = this.#begunAt === now;
    this.#begunAt = null;
    return cameWithStart ? workflowInfo().startTime.getTime() : now;
  }

  /** It failed after the key was given up on, or comes so late that clocks may be the reason. */
  #isOfNow(write: Partial<FailedWrite> | null | undefined): boolean {
    const { failedAt, redrive } = write ?? {};
    if (redrive !== undefined || Date.now() - this.#escalatedAt > ON_THEIR_WAY_MS) return true;
    return !(Date.parse(failedAt ?? '') <= this.#escalatedAt);
  }

  askRetry(request: unknown): void {
    this.#vouch.take(request);
    this.#retryAsked = true;
    // A person grants every attempt of the policy anew.
    this.triesBegunAt = null;
  }

  /**
   * Gives up on what is pending now; what fails after this is not meant, and gets a round of its
   * own.
   */
  askSkip(reason: unknown): void {
    this.#skipAsked = null;
    this.absorbPending();
    this.#skipAsked = typeof reason === 'string' && reason !== '' ? reason : 'no reason given';
  }

  askCancel(): void {
    // Now: the attempt under way is still waited for, and what fails meanwhile is not meant.
    this.absorbPending();
    this.#cancel.ask();
  }

  /**
   * Asks for a round over the whole key that starts after this call.
   * @returns the ticket of who asks
   */
  askRound(request?: unknown): number {
    this.#vouch.take(request);
    this.#pending = new Incoming(demand(this.#pending.pending()));
    return this.asks.ask();
  }

  status(): KeyStatus {
    const all = this.#all();
    // Of a key that is done they are those of what it was done for.
    const { firstFailedAt, lastFailedAt } = isNothing(all) ? this.#ended : all;
    return {
      key: this.#input.key,
      encoding: this.#input.encoding ?? 'utf8',
      link: this.#input.link,
      state: this.#state,
      attempts: this.#attempts,
      pending: all.count,
      firstFailedAt: isoTime(firstFailedAt),
      lastFailedAt: isoTime(lastFailedAt),
      lastOutcome: this.#lastOutcome,
      lastError: this.lastError,
      nextRetry: isoTime(this.#nextRetry),
      outage: this.#outage,
      skipReason: this.#skipReason,
      tried: this.#tried,
      sides: this.#sides,
    };
  }

  // What the loop asks.

  hasWork(): boolean {
    return this.#round !== null || this.hasNewWork();
  }

  /** Something has come in that the round under way does not cover. */
  hasNewWork(): boolean {
    return !this.#pending.isNothing();
  }

  get maximumAttempts(): number {
    return this.policy.retry.maximumAttempts;
  }

  /** A `retry` was sent; unlike an update, it leaves the escalation behind. */
  get retryWanted(): boolean {
    return this.#retryAsked;
  }

  get isCancelled(): boolean {
    return this.#cancel.isAsked;
  }

  /**
   * Something failed anew since the key was given up on. What had failed before is no reason to try
   * sooner.
   */
  hasReasonToTry(): boolean {
    return this.hasNewWork() && (this.#wakes || this.isOfEarlierVersion);
  }

  /** A write may have failed after the run was cancelled. */
  hasWorkAfterCancel(): boolean {
    return this.hasNewWork() || this.#cancel.mayBeFollowed;
  }

  interruption(): Interruption | null {
    if (this.isCancelled) return 'cancel';
    if (this.#skipAsked !== null) return 'skip';
    if (this.#retryAsked || this.asks.wantRound) return 'retry';
    return this.mustContinueAsNew() ? 'continueAsNew' : null;
  }

  mustContinueAsNew(): boolean {
    const info = workflowInfo();
    return (
      info.continueAsNewSuggested || info.historyLength >= (this.#input.historyEventsPerRun ?? HISTORY_EVENTS_PER_RUN)
    );
  }

  /** The round under way, or an empty one. */
  current(): Pending {
    return this.#round ?? NOTHING_PENDING;
  }

  request(): ReconcileRequest {
    const { link, key, encoding } = this.#input;
    const { hint, firstFailedAt, newest } = this.current();
    const since = firstFailedAt === null ? {} : { failedAt: firstFailedAt };
    const { id: eventId, traceparent } = newest ?? {};
    const told = { ...(eventId && { eventId }), ...(traceparent && { traceparent }) };
    const request = { link, key, encoding: encoding ?? 'utf8', hint, ...since, ...told };
    const { until } = this.#vouch;
    if (until === null || Date.now() >= until) return { ...request, allowDelete: false };
    return { ...request, allowDelete: true, allowDeleteUntil: until };
  }

  // What the loop does.

  beginRound(): void {
    // A skip has already taken what it is to give up on; what came after that waits for the next
    // round.
    // A retry that the run before was asked for last is granted by leaving the escalation.
    const isGrantedLater = !this.isOfEarlierVersion && this.escalation !== 'none' && this.#retryAsked;
    if (this.#round === null && !isGrantedLater) this.absorbPending();
  }

  /**
   * Lets the round under way cover what has arrived since it began, and forgets the wish to retry,
   * which is now granted.
   */
  absorbPending(): void {
    // What came after a skip or a cancel is not meant by it.
    if (this.#skipAsked !== null || this.isCancelled) return;
    // Of thousands of messages that ask for it, few have something to take.
    if (this.#round === null || this.hasNewWork()) {
      const { round, rest } = takeRound(this.#pending.pending());
      this.#round = this.#round === null ? round : putBack(this.#round, round);
      this.#pending = new Incoming(rest);
    }
    this.asks.coverAll();
    this.#retryAsked = false;
    this.#wakes = false;
  }

  enter(state: State, nextRetry: number | null = null, outage: ShardOutage | null = null): void {
    // While escalated, an attempt of the slow retry does not change what people and alerts see.
    this.#state = this.escalation === 'none' || state === 'done' ? state : 'escalated';
    this.#nextRetry = nextRetry;
    this.#outage = outage;
    this.#showDetails();
  }

  countAttempts(made: number, error: LastError | null): void {
    this.#attempts += made;
    if (made > 0) this.#vouch.spend();
    if (error !== null) {
      this.lastError = error;
      const to = Date.now();
      this.#tried = withTried(this.#tried, { type: error.type, attempts: made, from: this.triesBegunAt ?? to, to });
    }
    this.#showDetails();
  }

  escalate(error: LastError): void {
    this.lastError = error;
    if (this.escalation === 'none') {
      this.escalation = 'unpublished';
      this.letters.beginEscalation();
      this.#escalatedAt = Date.now();
      this.#wakes = false;
    }
    this.enter('escalated');
  }

  /** What is to be found out when it escalates. */
  escalationLook(): EscalationLook {
    const { link, key, encoding } = this.#input;
    return { link, key, encoding: encoding ?? 'utf8' };
  }

  noteSight({ sides, lettersEnd }: EscalationSight): void {
    if (sides !== undefined) this.#sides = sides;
    if (lettersEnd !== undefined && this.escalation === 'unpublished') this.letters.noteEnd(lettersEnd);
    this.#showDetails();
  }

  leaveEscalated(): void {
    this.escalation = 'none';
    this.letters.endEscalation();
    this.#sides = null;
  }

  finishRound(outcome: Outcome): void {
    if (outcome === 'skipped') {
      this.#skipReason = this.#skipAsked;
    }
    // What is done is done: a skip that came too late for it has nothing left to give up on.
    this.#skipAsked = null;
    this.#ended = this.current();
    this.#round = null;
    this.#tried = [];
    this.#vouch.spend();
    this.triesBegunAt = null;
    // Of an attempt that was lost meanwhile a skip ends nothing: it may still write.
    if (outcome !== 'skipped' || this.isOfEarlierVersion) {
      this.unverifiedSince = null;
      this.mustLookAgain = false;
    }
    this.hasRepaired = false;
    this.#lastOutcome = outcome;
    this.#repaired ||= outcome === 'repaired';
    this.asks.answer({ result: this.#resultWith(outcome) });
    this.enter('done');
  }

  /** What was pending is in a dead letter, and given up on. */
  finishCancelled(): void {
    this.#ended = this.current();
    this.#round = null;
    this.enter('cancelled');
  }

  /**
   * What the run as a whole came to: a later round that found nothing to do does not hide an
   * earlier repair.
   */
  result(): ReconcileKeyResult {
    const last = this.#lastOutcome ?? 'equal';
    return this.#resultWith(last === 'equal' && this.#repaired ? 'repaired' : last);
  }

  #resultWith(outcome: Outcome): ReconcileKeyResult {
    const skipped = outcome === 'skipped' ? { skipReason: this.#skipReason ?? '' } : {};
    return { outcome, attempts: this.#attempts, ...skipped };
  }

  /** The input of the next run. */
  carry(): RunInput {
    const carried: CarriedState = {
      pending: this.#all(),
      escalation: this.escalation,
      shown: this.shown,
      attempts: this.#attempts,
      allowDeleteUntil: this.#vouch.until,
      hasRepaired: this.hasRepaired,
      mustLookAgain: this.mustLookAgain,
      triesBegunAt: this.triesBegunAt,
      unverifiedSince: this.unverifiedSince,
      lastOutcome: this.#lastOutcome,
      repaired: this.#repaired,
      lastError: this.lastError,
      // What came behind it would be skipped with it: better that a person asks once more.
      skipAsked: this.hasNewWork() ? null : this.#skipAsked,
      retryAsked: this.#retryAsked,
      tried: this.#tried,
      sides: this.#sides,
      ...this.letters.carried(),
    };
    return { ...this.#input, carried };
  }

  /** The input of a run for what failed after this one was cancelled. */
  carryAfterCancel(): RunInput {
    const { shown, unverifiedSince, mustLookAgain } = this;
    const pending = demand(this.#pending.pending());
    const carried = { ...NEW, pending, shown, unverifiedSince, mustLookAgain, ...this.letters.carried() };
    return { ...this.#input, carried };
  }

  #all(): Pending {
    const pending = this.#pending.pending();
    return this.#round === null ? pending : putBack(this.#round, pending);
  }

  #showDetails(): void {
    setCurrentDetails(describeStatus(this.status()));
  }
}

function isoTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
