/**
 * What the workflow asks for. Each call may run twice, and an attempt may outlive its timeout: the
 * engine's writes are fenced.
 */

import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import {
  type KeyRequest,
  type KeyResult,
  type LargeKeyProgress,
  type LinkSides,
  type ReconcileErrorType,
  type ReconcileOptions,
  reconcileKeys,
  reconcileLargeKey,
  type Stage,
  scopeOf,
  withEarlier,
} from '../src/engine/index.js';
import { keyBytes } from '../src/events/failed-write.js';
import type { Same } from '../src/events/same.js';
import type {
  Activities,
  AttemptErrorDetail,
  Earlier,
  EscalateRequest,
  ReconcileReply,
  ReconcileRequest,
} from '../workflows/activities.js';
import { type ErrorType, isPermanent } from '../workflows/errors.js';
import type { Stage as WorkflowStage } from '../workflows/messages.js';
import { Gathering } from './gather.js';
import { startPulse } from './pulse.js';
import { ATTEMPTS_AT_ONCE, LARGE_KEYS_AT_ONCE, Slots, VERIFYING_AT_ONCE } from './slots.js';

/** One link as a worker holds it. */
export interface LinkRuntime {
  readonly sides: LinkSides;
  readonly options: ReconcileOptions;
}

interface ActivityDependencies {
  readonly links: ReadonlyMap<string, LinkRuntime>;
  /** Search attributes that can be written now. Must not throw. */
  readonly usableAttributes: () => Promise<readonly string[]>;
  /** Resolves when the dead-letter topic has acknowledged the record. */
  readonly publishEscalation: (request: EscalateRequest, workflow: WorkflowRun) => Promise<void>;
  /**
   * Told once how an attempt at a key ended, and how long it took, in ms. Not of one that was
   * cancelled, nor of a value that turned out to be large before anything was done: its durable
   * attempt follows. Must not throw.
   */
  readonly onResult: (result: EndedResult, durationMs: number, attempt: AttemptOf) => void;
}

/** Whose attempt it was. */
interface AttemptOf {
  readonly link: string;
  readonly workflowId: string;
  /** Of its activity, from 1. */
  readonly attempt: number;
}

/** How an attempt at a key ended. */
export type EndedResult = Exclude<KeyResult, { outcome: 'large' }>;

interface WorkflowRun {
  readonly workflowId: string;
  readonly runId: string;
}

export function create({ links, publishEscalation, usableAttributes, onResult }: ActivityDependencies): Activities {
  const verifying = new Slots(VERIFYING_AT_ONCE);
  const works = new Map(Array.from(links, ([name, link]) => [name, workOfLink(link, verifying)]));
  return {
    async reconcile(request: ReconcileRequest): Promise<ReconcileReply> {
      const { attempt, isLocal, workflowExecution } = Context.current().info;
      const work = works.get(request.link);
      if (work === undefined) {
        const type: WorkerError = 'UnknownLink';
        throw ApplicationFailure.create({
          type,
          message: `link "${request.link}" is not in the configuration of this worker; add it there, or skip the key`,
          nonRetryable: isPermanent(type),
        });
      }
      const key = { key: keyBytes(request), scope: scopeOf(request.hint), allowDelete: vouched(request, attempt) };
      const begunAt = performance.now();
      const { result, ...attempted } = await (isLocal ? firstAttempt(work, key) : durableAttempt(work, key));
      if (result.outcome === 'large') return largeReply(result, attempted.lookAgain);
      const { workflowId } = workflowExecution!;
      onResult(result, performance.now() - begunAt, { link: request.link, workflowId, attempt });
      const due = isLocal ? toVerify(request, result, begunAt) : null;
      const verified = due === null ? {} : await verify(work, { ...key, allowDelete: false }, due);
      return reply(result, { attempt, ...attempted, ...verified });
    },

    async escalate(request: EscalateRequest): Promise<void> {
      const { workflowExecution } = Context.current().info;
      await publishEscalation(request, workflowExecution!);
    },

    usableAttributes,
  };
}

/** What the attempts at one link share in a worker. */
interface Work extends LinkRuntime {
  readonly gathering: Gathering;
  readonly attempts: Slots;
  readonly largeKeys: Slots;
  /** Shared by all links. */
  readonly verifying: Slots;
}

function workOfLink({ sides, options }: LinkRuntime, verifying: Slots): Work {
  const gathering = new Gathering(sides, options);
  const [attempts, largeKeys] = [new Slots(ATTEMPTS_AT_ONCE), new Slots(LARGE_KEYS_AT_ONCE)];
  return { sides, options, gathering, attempts, largeKeys, verifying };
}

/**
 * A person vouched for one attempt, soon. By a later one the source may have been emptied.
 */
function vouched({ allowDelete, allowDeleteUntil }: ReconcileRequest, attempt: number): boolean {
  return allowDelete && attempt === 1 && Date.now() < (allowDeleteUntil ?? Number.POSITIVE_INFINITY);
}

interface Attempted {
  readonly result: KeyResult;
  /** What earlier attempts of the activity have done to the target. */
  readonly earlier: Earlier;
  readonly lookAgain: boolean;
  /** It has compared what it wrote once more, and found it equal. */
  readonly verified?: boolean;
}

/** It leaves a large value alone, because that takes longer than a workflow task may. */
async function firstAttempt({ gathering, attempts }: Work, key: KeyRequest): Promise<Attempted> {
  const { cancellationSignal } = Context.current();
  const result = await inSlot(attempts, false, () => gathering.reconcile(key, cancellationSignal));
  return { result, earlier: 'nothing', lookAgain: wroteList(result) };
}

async function durableAttempt(
  { sides, options: ofLink, attempts, largeKeys }: Work,
  key: KeyRequest,
): Promise<Attempted> {
  const options = { ...ofLink, signal: Context.current().cancellationSignal };
  const pulse = startPulse<LargeKeyProgress>();
  try {
    const { resume, earlier, report } = pulse;
    const isResumed = resume !== undefined;
    let result = await inSlot(attempts, isResumed, async () => (await reconcileKeys(sides, [key], options))[0]!);
    if (result.outcome === 'large') {
      const work = () => reconcileLargeKey(sides, key, { ...options, resume, onProgress: report });
      result = withEarlier(await inSlot(largeKeys, isResumed, work), result.repaired ?? null);
    }
    pulse.end(effectOf(result));
    // What an earlier attempt wrote is not known; large members, of which each was compared since
    // and which are no list, are not gone through once more for that.
    const lookAgain = wroteList(result) || (earlier === 'wrote' && pulse.progress === undefined);
    return { result, earlier, lookAgain };
  } finally {
    pulse.stop();
  }
}

/** In time of `performance.now`: when to compare again, and when that must have ended. */
interface Verification {
  readonly afterMs: number;
  readonly endsAt: number;
}

/** What a command may take (2 s), and the reply of the activity, are left for the second look. */
const SECOND_LOOK_MS = 2_200;
const LEFT_FOR_THE_REPLY_MS = 200;

/** @returns null where nothing is to be verified, or the activity has no time for that */
function toVerify({ verify }: ReconcileRequest, result: KeyResult, begunAt: number): Verification | null {
  if (verify === undefined || result.outcome !== 'repaired' || !(verify.always || wroteList(result))) return null;
  const endsAt = begunAt + Context.current().info.startToCloseTimeoutMs;
  if (performance.now() + verify.afterMs + SECOND_LOOK_MS > endsAt) return null;
  return { afterMs: verify.afterMs, endsAt: endsAt - LEFT_FOR_THE_REPLY_MS };
}

/**
 * Waits, and looks at the key once more. Whatever else than equality it comes to, the workflow does
 * the same again, durably. A worker that dies meanwhile has lost the wait alone: its workflow task
 * is given to another one only after 10 s, and what that one finds then is as good a second look.
 */
async function verify(
  { gathering, attempts, verifying }: Work,
  key: KeyRequest,
  { afterMs, endsAt }: Verification,
): Promise<Partial<Attempted>> {
  const context = Context.current();
  // Who finds no room among those that wait is told so at once, with a time that is of no use here.
  const waited = await verifying.run(async () => context.sleep(afterMs));
  if (waited !== undefined) return {};
  const overdue = AbortSignal.timeout(Math.max(0, Math.ceil(endsAt - performance.now())));
  const signal = AbortSignal.any([context.cancellationSignal, overdue]);
  const late = new Promise<'late'>((resolve) => overdue.addEventListener('abort', () => resolve('late')));
  try {
    for (;;) {
      const look = inSlot(attempts, false, () => gathering.reconcile(key, signal));
      // A command under way is not waited for: a reply that comes too late loses the repair.
      look.catch(() => {});
      const result = await Promise.race([look, late]);
      if (result === 'late') return { earlier: 'unknown' };
      if (result.outcome === 'equal') return { verified: true };
      // Those who wrote at the same time look again at the same time: a slot is free soon.
      const isBusy = result.outcome === 'deferred' && result.repaired === null;
      if (isBusy && performance.now() + result.retryAfterMs < endsAt) await context.sleep(result.retryAfterMs);
      else return effectOf(result) === 'unknown' ? { earlier: 'unknown' } : {};
    }
  } catch (error) {
    if (context.cancellationSignal.aborted) throw error;
    // The first repair is done, whatever became of the look.
    return { earlier: 'unknown' };
  }
}

/**
 * What the link has no slot for now is deferred as by the budget. An attempt that takes up the work
 * of an earlier one waits here: how far that had come is kept no longer than this activity.
 */
async function inSlot(slots: Slots, isResumed: boolean, work: () => Promise<KeyResult>): Promise<KeyResult> {
  for (;;) {
    const ended = await slots.run(work);
    const result: KeyResult = 'outcome' in ended ? ended : { outcome: 'deferred', repaired: null, ...ended };
    if (!isResumed || result.outcome !== 'deferred' || result.repaired !== null) return result;
    await Context.current().sleep(result.retryAfterMs);
  }
}

/** What an attempt has done to the target. `unknown`: what it sent may still arrive. */
function effectOf(result: KeyResult): Earlier {
  switch (result.outcome) {
    case 'repaired':
      return 'wrote';
    case 'deferred':
    case 'large':
      return result.repaired ? 'wrote' : 'nothing';
    case 'failed': {
      const { stage, cause } = result.error;
      if (stage === 'write' && ['TIMEOUT', 'CONNECTION'].includes((cause as { code?: string })?.code ?? '')) {
        return 'unknown';
      }
      return result.wrote || stage === 'verify' ? 'wrote' : 'nothing';
    }
    default:
      return 'nothing';
  }
}

/**
 * A positional write that was on its way when the list was copied is in the copy, and happens once
 * more when it arrives.
 */
function wroteList(result: KeyResult): boolean {
  const repaired = 'repaired' in result ? result.repaired : result;
  return repaired?.outcome === 'repaired' && repaired.type === 'list' && repaired.action !== 'expiry';
}

/** The errors that concern the worker itself and not the two sides. */
type WorkerError = 'UnknownLink' | 'AttemptLost';
// The engine's words go on as they are. A word that either side alone has does not compile.
void (true satisfies Same<ReconcileErrorType, Exclude<ErrorType, WorkerError>>);
void (true satisfies Same<Stage, Exclude<WorkflowStage, 'decode' | 'signal'>>);

function largeReply({ repaired }: Exclude<KeyResult, EndedResult>, lookAgain: boolean): ReconcileReply {
  return { outcome: 'large', ...(repaired && { wrote: true }), ...(lookAgain && { lookAgain }) };
}

function reply(
  result: EndedResult,
  { attempt, earlier, lookAgain, verified }: Omit<Attempted, 'result'> & { readonly attempt: number },
): ReconcileReply {
  const before = earlier === 'nothing' ? {} : { earlier };
  const more = { attempt, ...(lookAgain && { lookAgain }), ...before, ...(verified && { verified }) };
  switch (result.outcome) {
    case 'equal':
      return { outcome: 'equal', summary: 'equal', ...more };
    case 'repaired':
      return { outcome: 'repaired', summary: `${result.action} ${result.type}, ${result.bytes} bytes`, ...more };
    case 'deferred': {
      const { retryAfterMs, repaired } = result;
      return { outcome: 'deferred', retryAfterMs, wrote: repaired !== null, ...more };
    }
    case 'failed': {
      const { type, message, stage } = result.error;
      const effect = effectOf(result);
      const wrote = result.wrote === true || effect === 'wrote';
      const unknown = effect === 'unknown' && { earlier: 'unknown' as const };
      const detail: AttemptErrorDetail = { stage, attempt, ...(wrote && { wrote }), ...before, ...unknown };
      // The cause stays in the worker: a Redis error may carry the arguments of its command.
      throw ApplicationFailure.create({ type, message, nonRetryable: isPermanent(type), details: [detail] });
    }
  }
}
