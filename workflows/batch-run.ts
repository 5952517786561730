/** The state of a batch as a plain value: which keys are open, and what is to be done with each. */
import type { BatchFailure, BatchInput, BatchReply, BatchWrite, KeyInBatch } from './batch-messages.js';
import type { EncodedKey } from './failed-write.js';
import type { LastError, LinkPolicy, ShardOutage } from './messages.js';
import { landsWithin, VERIFY_ROUNDS } from './settle.js';

/** A key that is not healed yet. */
export interface OpenKey {
  readonly write: BatchWrite;
  /** Attempts that have failed. */
  tries: number;
  /** Attempts that have written, or may have, and were not found to hold yet. */
  repairs: number;
  /** When it is tried again, in ms since the epoch. */
  dueAt: number;
  /** Before this a comparison proves nothing, whoever asks for it. */
  provesAt: number;
  /** How it was healed; null: it was not, so far. */
  healed: 'equal' | 'repaired' | null;
  /** Of its last attempt; null: none has failed. */
  error: LastError | null;
}

export interface BatchRun {
  readonly policy: LinkPolicy;
  /** As in the input of the run, open or not. */
  readonly keys: readonly OpenKey[];
  readonly open: Set<OpenKey>;
  /** Of keys that do not heal here. */
  handOver: BatchWrite[];
  /** Before this they must not be compared, however short their `settle` is. */
  handOverAt: number;
  equal: number;
  repaired: number;
  handedOver: number;
  outage: ShardOutage | null;
  lastError: LastError | null;
}

const UNTRIED = { tries: 0, repairs: 0, healed: null, error: null };

export function newRun({ policy, writes, carried }: BatchInput): BatchRun {
  const { equal = 0, repaired = 0, handedOver = 0, provesAt = 0 } = carried ?? {};
  const keys = writes.map((write): OpenKey => ({ write, ...UNTRIED, provesAt, dueAt: provesAt }));
  const nothing = { handOver: [], handOverAt: 0, outage: null, lastError: null };
  return { policy, keys, open: new Set(keys), equal, repaired, handedOver, ...nothing };
}

/** Those that are due so soon after each other are tried together. */
const TOGETHER_MS = 200;

/**
 * Keys to be tried at this time, in ms since the epoch.
 * @param asked somebody asks for a try now
 */
export function dueKeys(run: BatchRun, now: number, asked = false): OpenKey[] {
  return [...run.open].filter(({ dueAt, provesAt }) => provesAt <= now && (asked || dueAt <= now + TOGETHER_MS));
}

/** Some of the keys of the run, in their order, as `BatchRequest.asked` names them. */
export function rangesOf({ keys }: BatchRun, some: readonly OpenKey[]): number[] {
  const named = new Set(some);
  const ranges: number[] = [];
  for (const [index, key] of keys.entries()) {
    if (!named.has(key)) continue;
    if (ranges.at(-1) === index - 1) ranges[ranges.length - 1] = index;
    else ranges.push(index, index);
  }
  return ranges;
}

function namedBy({ keys }: BatchRun, ranges: readonly number[]): OpenKey[] {
  const named: OpenKey[] = [];
  for (let at = 0; at < ranges.length; at += 2) named.push(...keys.slice(ranges[at], ranges[at + 1]! + 1));
  return named;
}

/** When the next key is due, in ms since the epoch. */
export function nextDue(run: BatchRun): number {
  let next = Number.POSITIVE_INFINITY;
  for (const { dueAt } of run.open) next = Math.min(next, dueAt);
  return next;
}

/** When a comparison of each key proves something, in ms since the epoch. */
export function latestProof(run: BatchRun): number {
  return Math.max(0, ...[...run.open].map(({ provesAt }) => provesAt));
}

/** What is known of a key here; null: it is healed, or gone on by itself, or was never here. */
export function keyIn({ open, handOver }: BatchRun, { key, encoding = 'utf8' }: EncodedKey): KeyInBatch | null {
  const isIt = (write: BatchWrite) => write.key === key && (write.encoding ?? 'utf8') === encoding;
  const entry = [...open].find(({ write }) => isIt(write));
  const write = entry?.write ?? handOver.find(isIt);
  if (write === undefined) return null;
  const { count, firstFailedAt, lastFailedAt } = write.merged ?? {
    count: 1,
    firstFailedAt: write.failedAt,
    lastFailedAt: write.failedAt,
  };
  const nextRetry = entry === undefined || entry.dueAt === 0 ? null : new Date(entry.dueAt).toISOString();
  return { attempts: entry?.tries ?? 0, pending: count, firstFailedAt, lastFailedAt, nextRetry };
}

/**
 * Takes what an attempt has come to.
 * @param due what it was asked for, unless the reply says that
 * @param now when it ended, in ms since the epoch
 */
export function takeReply(run: BatchRun, due: readonly OpenKey[], reply: BatchReply, now: number): void {
  const tried = reply.asked === undefined ? due : namedBy(run, reply.asked);
  const left = new Set(tried);
  const each = (indices: readonly number[], take: (key: OpenKey) => void) => {
    for (const index of indices) {
      left.delete(tried[index]!);
      take(tried[index]!);
    }
  };
  run.outage = null;
  for (const { indices, retryAfterMs, outage } of reply.deferred) {
    run.outage ??= outage ?? null;
    each(indices, (key) => {
      key.dueAt = now + retryAfterMs;
    });
  }
  each(reply.lookAgain, (key) => {
    key.repairs += 1;
    if (key.repairs > VERIFY_ROUNDS) giveUp(run, key, now);
    else key.dueAt = key.provesAt = now + run.policy.settleMs;
  });
  each(reply.large, (key) => giveUp(run, key, now));
  for (const failure of reply.failed) {
    run.lastError = failure.error;
    each(failure.indices, (key) => takeFailure(run, key, failure, now));
  }
  each(reply.repaired, (key) => heal(run, key, true));
  for (const key of left) heal(run, key, false);
}

function heal(run: BatchRun, key: OpenKey, repaired: boolean): void {
  run.open.delete(key);
  key.healed = repaired || key.repairs > 0 ? 'repaired' : 'equal';
  run[key.healed] += 1;
}

function takeFailure(run: BatchRun, key: OpenKey, { permanent, effect, error }: BatchFailure, now: number): void {
  const { retry, settleMs } = run.policy;
  key.tries += 1;
  key.error = error;
  if (effect !== 'nothing') key.repairs += 1;
  key.provesAt = now + landsWithin(effect, settleMs);
  if (permanent || key.tries >= retry.maximumAttempts) {
    giveUp(run, key, now);
    return;
  }
  const pause = Math.min(
    retry.initialIntervalMs * retry.backoffCoefficient ** (key.tries - 1),
    Math.max(retry.maximumIntervalMs, retry.initialIntervalMs),
  );
  key.dueAt = Math.max(now + pause, key.provesAt);
}

function giveUp(run: BatchRun, key: OpenKey, now: number): void {
  run.open.delete(key);
  run.handOver.push(leaving(key, now));
  // For `settle` it waits there.
  if (key.provesAt > now + run.policy.settleMs) run.handOverAt = Math.max(run.handOverAt, key.provesAt);
}

/** Ends the run: what it has not healed goes on elsewhere, also what is being tried now. */
export function giveUpAll(run: BatchRun, tried: readonly OpenKey[], now: number): void {
  for (const key of tried) {
    key.repairs += 1;
    key.provesAt = now + landsWithin('unknown', run.policy.settleMs);
  }
  for (const key of run.open) giveUp(run, key, now);
}

/**
 * The failed write of a key as it is told to whoever goes on with it. What this run has written, or
 * may have, is to be looked at after `settle`, as after a write of unknown outcome that was read
 * now.
 */
export function leaving({ write, repairs }: Pick<OpenKey, 'write' | 'repairs'>, now: number): BatchWrite {
  return repairs === 0 ? write : { ...write, outcome: 'unknown', receivedAt: new Date(now).toISOString() };
}
