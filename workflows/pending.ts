/**
 * What is still to reconcile for one key, as a plain value. A thousand failed writes of a key
 * coalesce into one round; a redelivered record is known by its id. Pure functions, tested without
 * Temporal.
 */

import type { ScopeHint } from './activities.js';
import type { FailedWrite, LinkPolicy } from './messages.js';
import type { Pending } from './run-state.js';
import { failedAtOf, mayBeInFlight, settledAt } from './settle.js';

/** How many ids are remembered. Redeliveries come soon after the first delivery or not at all. */
const SEEN_LIMIT = 1_000;
/** Past this many members looking at the whole key is cheaper. */
export const MEMBERS_LIMIT = 1_000;
/** The same in characters: what is pending travels in payloads, which Temporal bounds. */
const MEMBERS_TEXT_LIMIT = 64 * 1024;
const NOWHERE: ScopeHint = { whole: false, memberCommands: [], otherCommands: [], members: { utf8: [], base64: [] } };
const WHOLE: ScopeHint = { ...NOWHERE, whole: true };

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
export function addFailedWrites(pending: Pending, events: unknown, policy: LinkPolicy, now: number): Pending {
  const list = Array.isArray(events) ? events : [events];
  return list.reduce<Pending>((state, event) => addOne(state, event, policy, now), pending);
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

function addOne(pending: Pending, event: unknown, policy: LinkPolicy, now: number): Pending {
  const write = typeof event === 'object' && event !== null ? (event as Partial<FailedWrite>) : {};
  const id = identityOf(write);
  if (id !== null && pending.seen.includes(id)) return pending;
  const failedAt = failedAtOf(write, now);
  // Only a write that says what its key is, and when it failed, can stand for the others in a dead
  // letter.
  const isWhole = typeof write.key === 'string' && !Number.isNaN(Date.parse(write.failedAt ?? ''));
  return {
    seen: id === null ? pending.seen : [...pending.seen, id].slice(-SEEN_LIMIT),
    count: pending.count + 1,
    hint: mergeHints(pending.hint, hintOf(write)),
    newest: isWhole ? (write as FailedWrite) : pending.newest,
    firstFailedAt: least(pending.firstFailedAt, failedAt),
    lastFailedAt: most(pending.lastFailedAt, failedAt),
    settledAt: Math.max(pending.settledAt, settledAt(write, policy.settleMs, now)),
    verify: pending.verify || policy.verify === 'always' || (policy.verify === 'auto' && mayBeInFlight(write)),
    demanded: pending.demanded,
  };
}

/**
 * By what a redelivered failed write is known. One that was redriven is another each time that it
 * was published.
 */
function identityOf({ id, redrive, record }: Partial<FailedWrite>): string | null {
  if (typeof id !== 'string') return null;
  return redrive === undefined ? id : `${id} of ${record?.topic}[${record?.partition}] ${record?.offset}`;
}

function hintOf({ command, members, encoding }: Partial<FailedWrite>): ScopeHint {
  if (typeof command !== 'string') return WHOLE;
  if (!Array.isArray(members) || members.length === 0) return { ...NOWHERE, otherCommands: [command] };
  return {
    ...NOWHERE,
    memberCommands: [command],
    members: encoding === 'base64' ? { utf8: [], base64: members } : { utf8: members, base64: [] },
  };
}

function mergeHints(a: ScopeHint, b: ScopeHint): ScopeHint {
  if (a.whole || b.whole) return WHOLE;
  const members = { utf8: union(a.members.utf8, b.members.utf8), base64: union(a.members.base64, b.members.base64) };
  const all = [...members.utf8, ...members.base64];
  if (all.length > MEMBERS_LIMIT) return WHOLE;
  if (all.reduce((sum, member) => sum + member.length, 0) > MEMBERS_TEXT_LIMIT) return WHOLE;
  return {
    whole: false,
    memberCommands: union(a.memberCommands, b.memberCommands),
    otherCommands: union(a.otherCommands, b.otherCommands),
    members,
  };
}

function union(a: readonly string[], b: readonly string[]): readonly string[] {
  return b.length === 0 ? a : [...new Set([...a, ...b])];
}

function least(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b);
}

function most(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.max(a, b);
}
