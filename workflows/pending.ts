/**
 * What is still to reconcile for one key, as a plain value. A thousand failed writes of a key
 * coalesce into one round; a redelivered record is known by its id. Pure functions, tested without
 * Temporal.
 */

import type { FailedWrite, LinkPolicy, MergedWrites } from './messages.js';
import type { Pending } from './run-state.js';
import { isHint, isTexts, mergeHints, NOWHERE, ScopeSum, WHOLE } from './scope.js';
import { SeenIds } from './seen-ids.js';
import { failedAtOf, mayBeInFlight, settledAt } from './settle.js';

export { MEMBERS_LIMIT } from './scope.js';

/** Of each text that a failed write brings along to a dead letter, in UTF-16 units. */
const TEXT_LIMIT = 512;

export const NOTHING_PENDING: Pending = {
  seen: [],
  count: 0,
  hint: NOWHERE,
  newest: null,
  firstFailedAt: null,
  lastFailedAt: null,
  settledAt: 0,
  verify: false,
  demanded: false,
};

export function isNothing(pending: Pending): boolean {
  return pending.count === 0 && !pending.demanded;
}

/**
 * Adds failed writes that were not seen before.
 * @param events as they came in a signal, so possibly malformed: what can't be read counts as a
 *   write of the whole key, because dropping it could lose a failed write
 * @param now ms since the epoch
 */
export function addFailedWrites(pending: Pending, events: unknown, rules: Rules, now: number): Pending {
  const incoming = new Incoming(pending);
  incoming.add(events, rules, now);
  return incoming.pending();
}

/** Asks for a round over the whole key although no write failed. */
export function demand(pending: Pending): Pending {
  return { ...pending, demanded: true, hint: WHOLE };
}

/** Splits off everything pending as the next round; what is left behind only remembers the ids. */
export function takeRound(pending: Pending): { round: Pending; rest: Pending } {
  return { round: pending, rest: { ...NOTHING_PENDING, seen: pending.seen } };
}

/** Puts a round that did not succeed back in front of what arrived meanwhile. */
export function putBack(round: Pending, rest: Pending): Pending {
  return {
    seen: rest.seen,
    count: round.count + rest.count,
    hint: mergeHints(round.hint, rest.hint),
    newest: rest.newest ?? round.newest,
    firstFailedAt: least(round.firstFailedAt, rest.firstFailedAt),
    lastFailedAt: most(round.lastFailedAt, rest.lastFailedAt),
    settledAt: Math.max(round.settledAt, rest.settledAt),
    verify: round.verify || rest.verify,
    demanded: round.demanded || rest.demanded,
  };
}

/**
 * The failed write that stands for all that is pending: the newest one, its members widened to
 * every member pending, or without command and members when the whole key is.
 */
export function representative(pending: Pending): FailedWrite | null {
  const { newest, hint } = pending;
  if (newest === null) return null;
  const { command: _command, members: _members, ...wholeKey } = newest;
  const commands = [...hint.memberCommands, ...hint.otherCommands];
  // One record has one command and one encoding; what does not fit into that is a record of the
  // whole key.
  if (hint.whole || commands.length !== 1) return wholeKey;
  const mine = newest.encoding ?? 'utf8';
  if (hint.members[mine === 'utf8' ? 'base64' : 'utf8'].length > 0) return wholeKey;
  const members = hint.members[mine];
  return { ...wholeKey, command: commands[0], ...(members.length > 0 ? { members } : {}) };
}

/** What of the policy of a link a failed write is judged by. */
type Rules = Pick<LinkPolicy, 'settleMs' | 'verify'>;

/**
 * Failed writes as they come in, gathered in place: whatever waits already, each further one costs
 * the same.
 */
export class Incoming {
  readonly #seen: SeenIds;
  readonly #scope: ScopeSum;
  /** Without ids and hint, which are gathered beside it. */
  readonly #sum: { -readonly [Name in keyof Pending]: Pending[Name] };

  constructor(pending: Pending) {
    this.#seen = new SeenIds(pending.seen);
    this.#scope = new ScopeSum(pending.hint);
    this.#sum = { ...pending };
  }

  /** All that is pending as a plain value, bounded whatever came in. */
  pending(): Pending {
    const { newest } = this.#sum;
    return {
      ...this.#sum,
      seen: this.#seen.toArray(),
      hint: this.#scope.toHint(),
      newest: newest === null ? null : standIn(newest),
    };
  }

  isNothing(): boolean {
    return isNothing(this.#sum);
  }

  /**
   * As `addFailedWrites`.
   * @param toldAt as of `settledAt`
   */
  add(events: unknown, rules: Rules, now: number, toldAt = now): void {
    for (const event of Array.isArray(events) ? events : [events]) {
      this.#addOne(typeof event === 'object' && event !== null ? event : {}, rules, now, toldAt);
    }
  }

  #addOne(write: Partial<FailedWrite>, { settleMs, verify }: Rules, now: number, toldAt: number): void {
    const merged = mergedOf(write);
    const fresh = this.#countFresh(write, merged);
    if (fresh === 0) return;
    const sum = this.#sum;
    sum.count += fresh;
    if (merged?.hint !== undefined) this.#scope.add(merged.hint);
    else this.#scope.addWrite(merged === null ? {} : write);
    // Only a write that says what its key is, and when it failed, can stand for the others in a
    // dead letter.
    if (typeof write.key === 'string' && !Number.isNaN(Date.parse(write.failedAt ?? ''))) {
      sum.newest = write as FailedWrite;
    }
    const failedAt = failedAtOf(write, now);
    sum.firstFailedAt = least(
      sum.firstFailedAt,
      merged ? failedAtOf({ failedAt: merged.firstFailedAt }, now) : failedAt,
    );
    sum.lastFailedAt = most(sum.lastFailedAt, merged ? failedAtOf({ failedAt: merged.lastFailedAt }, now) : failedAt);
    sum.settledAt = Math.max(sum.settledAt, settledAt(write, settleMs, now, toldAt));
    sum.verify ||= verify === 'always' || (verify === 'auto' && mayBeInFlight(write));
  }

  /** How many failed writes that were not seen before the event stands for. */
  #countFresh(write: Partial<FailedWrite>, merged: MergedWrites | null | undefined): number {
    const { id } = write;
    const ids = merged?.ids ?? (typeof id === 'string' ? [identityOf({ ...write, id })] : []);
    // All are asked for before any is added, which may drive out the next.
    const added = ids.filter((each) => !this.#seen.has(each));
    for (const each of added) this.#seen.add(each);
    const fresh = added.length;
    // Those that it does not name came before those that it names: where one of these was seen, so
    // were they.
    if (fresh < ids.length) return fresh;
    // It may have another id besides its own, by which it is known as one of the whole key.
    return Math.max(1, merged?.count ?? fresh);
  }
}

/**
 * By what a redelivered failed write is known. One that was redriven is another each time that it
 * was published.
 */
export function identityOf({ id, redrive, record }: Pick<FailedWrite, 'id' | 'redrive' | 'record'>): string {
  return redrive === undefined ? id : `${id} of ${record?.topic}[${record?.partition}] ${record?.offset}`;
}

/**
 * What the bridge says of the failed writes that it has made one of.
 * @returns null: nothing that can be read
 */
function mergedOf({ merged }: Partial<FailedWrite>): MergedWrites | null | undefined {
  if (merged === undefined) return undefined;
  if (typeof merged !== 'object' || merged === null) return null;
  const { count, ids, hint } = merged;
  const isRight = Number.isSafeInteger(count) && isTexts(ids) && ids.length > 0 && (hint === undefined || isHint(hint));
  return isRight ? merged : null;
}

/** What a stand-in keeps: a new field of the record is here or in this list. */
type StandIn = Omit<FailedWrite, 'command' | 'members' | 'idempotent' | 'receivedAt' | 'receivedAgoMs' | 'merged'>;

/**
 * What a failed write has to tell a dead letter, bounded. Its command and members are part of the
 * hint.
 */
function standIn(write: FailedWrite): FailedWrite {
  const { id, link, key, encoding, failedAt, outcome, error, origin, record, redrive, traceparent } = write;
  return {
    specVersion: 1,
    id: cut(id),
    link: cut(link),
    key,
    encoding: cut(encoding),
    failedAt: new Date(Date.parse(failedAt)).toISOString(),
    outcome: cut(outcome),
    error: error && { code: cut(error.code), message: cut(error.message) },
    origin: cut(origin),
    record: record && {
      topic: cut(record.topic),
      partition: Number(record.partition),
      offset: cut(record.offset),
      timestamp: cut(record.timestamp),
    },
    redrive: redrive === undefined ? undefined : Number(redrive),
    traceparent: cut(traceparent),
  } satisfies { [Field in keyof Required<StandIn>]: StandIn[Field] };
}

function cut<Text extends string | undefined>(text: Text): Text {
  return (typeof text === 'string' ? text.slice(0, TEXT_LIMIT).toWellFormed() : undefined) as Text;
}

function least(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b);
}

function most(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.max(a, b);
}
