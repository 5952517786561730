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
import { startPulse } from './pulse.js';
import { ATTEMPTS_AT_ONCE, LARGE_KEYS_AT_ONCE, Slots } from './slots.js';

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
  const slots = new Map(Array.from(links.keys(), (name) => [name, slotsOfLink()]));
  return {
    async reconcile(request: ReconcileRequest): Promise<ReconcileReply> {
      const { attempt, isLocal, workflowExecution } = Context.current().info;
      const link = links.get(request.link);
      if (link === undefined) {
        const type: WorkerError = 'UnknownLink';
        throw ApplicationFailure.create({
          type,
          message: `link "${request.link}" is not in the configuration of this worker; add it there, or skip the key`,
          nonRetryable: isPermanent(type),
        });
      }
      const key = { key: keyBytes(request), scope: scopeOf(request.hint), allowDelete: vouched(request, attempt) };
      const begunAt = performance.now();
      const { result, ...attempted } = await reconcileOne(link, key, slots.get(request.link)!, isLocal);
      if (result.outcome === 'large') return largeReply(result, attempted.lookAgain);
      const { workflowId } = workflowExecution!;
      onResult(result, performance.now() - begunAt, { link: request.link, workflowId, attempt });
      return reply(result, { attempt, ...attempted });
    },

    async escalate(request: EscalateRequest): Promise<void> {
      const { workflowExecution } = Context.current().info;
      await publishEscalation(request, workflowExecution!);
    },

    usableAttributes,
  };
}

interface LinkSlots {
  readonly attempts: Slots;
  readonly largeKeys: Slots;
}

function slotsOfLink(): LinkSlots {
  return { attempts: new Slots(ATTEMPTS_AT_ONCE), largeKeys: new Slots(LARGE_KEYS_AT_ONCE) };
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
}

/**
 * @param isLocal a local attempt leaves a large value alone, because that takes longer than a
 *   workflow task may
 */
async function reconcileOne(
  { sides, options: ofLink }: LinkRuntime,
  key: KeyRequest,
  { attempts, largeKeys }: LinkSlots,
  isLocal: boolean,
): Promise<Attempted> {
  const options = { ...ofLink, signal: Context.current().cancellationSignal };
  const pulse = isLocal ? null : startPulse<LargeKeyProgress>();
  try {
    const isResumed = pulse?.resume !== undefined;
    let result = await inSlot(attempts, isResumed, async () => (await reconcileKeys(sides, [key], options))[0]!);
    if (result.outcome === 'large' && pulse !== null) {
      const { resume, report } = pulse;
      const work = () => reconcileLargeKey(sides, key, { ...options, resume, onProgress: report });
      result = withEarlier(await inSlot(largeKeys, isResumed, work), result.repaired ?? null);
    }
    pulse?.end(effectOf(result));
    const earlier = pulse?.earlier ?? 'nothing';
    // What an earlier attempt wrote is not known; large members, of which each was compared since
    // and which are no list, are not gone through once more for that.
    const lookAgain = wroteList(result) || (earlier === 'wrote' && pulse?.progress === undefined);
    return { result, earlier, lookAgain };
  } finally {
    pulse?.stop();
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
  { attempt, earlier, lookAgain }: Omit<Attempted, 'result'> & { readonly attempt: number },
): ReconcileReply {
  const before = earlier === 'nothing' ? {} : { earlier };
  const more = { attempt, ...(lookAgain && { lookAgain }), ...before };
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
