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
  type ReconcileErrorType,
  reconcileKeys,
  reconcileLargeKey,
  type Stage,
  scopeOf,
  withEarlier,
} from '../src/engine/index.js';
import { keyBytes } from '../src/events/failed-write-codec.js';
import type { Same } from '../src/events/same.js';
import type { Activities, AttemptErrorDetail, ReconcileReply, ReconcileRequest } from '../workflows/activities.js';
import { type ErrorType, isPermanent } from '../workflows/error-types.js';
import type { Stage as WorkflowStage } from '../workflows/messages.js';
import { type Attempted, type EndedResult, effectOf, wroteList } from './effect.js';
import { createEscalationActivities } from './escalation.js';
import { startPulse } from './pulse.js';
import { ATTEMPTS_IN_LINE, Slots, VERIFYING_AT_ONCE } from './slots.js';
import { toVerify, verify } from './verify.js';
import { inSlot, type LinkRuntime, type Work, workOfLink } from './work.js';
import { WrittenLately } from './written-lately.js';

type EscalationDependencies = Parameters<typeof createEscalationActivities>[0];

interface ActivityDependencies extends Omit<EscalationDependencies, 'links'> {
  readonly links: ReadonlyMap<string, LinkRuntime>;
  /**
   * Told how an attempt at a key ended and how long it took, in ms, and once more if its second
   * look repairs the key. Not of one that was cancelled, nor of a value that turned out to be large
   * before anything was done: its durable attempt follows. Must not throw.
   */
  readonly onResult: (result: EndedResult, durationMs: number, attempt: AttemptOf) => void;
}

/** Whose attempt it was. */
interface AttemptOf {
  readonly link: string;
  readonly workflowId: string;
  /** Of its activity, from 1. */
  readonly attempt: number;
  /** As in the request. */
  readonly eventId: string | undefined;
  readonly failedAt: number | undefined;
}

export function create({ links, onResult, ...ofEscalation }: ActivityDependencies): Activities {
  const verifying = new Slots(VERIFYING_AT_ONCE);
  const line = { room: ATTEMPTS_IN_LINE };
  const works = new Map(Array.from(links, ([name, link]) => [name, workOfLink(link, verifying, line)]));
  const written = new WrittenLately();
  return {
    async reconcile(request: ReconcileRequest): Promise<ReconcileReply> {
      const { attempt, isLocal, workflowExecution, activityId } = Context.current().info;
      const { link, eventId, failedAt } = request;
      const work = works.get(link);
      if (work === undefined) {
        const type: WorkerError = 'UnknownLink';
        throw ApplicationFailure.create({
          type,
          message: `link "${link}" is not in the configuration of this worker; add it there, or skip the key`,
          nonRetryable: isPermanent(type),
        });
      }
      const key = { key: keyBytes(request), scope: scopeOf(request.hint), allowDelete: vouched(request, attempt) };
      const begunAt = performance.now();
      const { workflowId, runId } = workflowExecution!;
      const attempting = isLocal
        ? written.remembering(`${runId} ${activityId}`, () => firstAttempt(work, key))
        : durableAttempt(work, key);
      const { result, ...attempted } = await attempting;
      if (result.outcome === 'large') return largeReply(result, attempted.lookAgain);
      const told = (ended: EndedResult, sinceMs: number) =>
        onResult(ended, performance.now() - sinceMs, { link, workflowId, attempt, eventId, failedAt });
      told(result, begunAt);
      const due = isLocal ? toVerify(request, result, begunAt) : null;
      const verified = due === null ? {} : await verify(work, { ...key, allowDelete: false }, due, told);
      return reply(result, { attempt, ...attempted, ...verified });
    },

    ...createEscalationActivities({ links, ...ofEscalation }),
  };
}

/**
 * A person vouched for one attempt, soon. By a later one the source may have been emptied.
 */
function vouched({ allowDelete, allowDeleteUntil }: ReconcileRequest, attempt: number): boolean {
  return allowDelete && attempt === 1 && Date.now() < (allowDeleteUntil ?? Number.POSITIVE_INFINITY);
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

/** The errors that concern the worker itself and not the two sides. */
type WorkerError = 'UnknownLink' | 'AttemptLost' | 'WorkerShutdown';
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
      const { retryAfterMs, repaired, outage } = result;
      const waitsFor = outage && { outage: { shard: outage.shard, since: new Date(outage.since).toISOString() } };
      return { outcome: 'deferred', retryAfterMs, wrote: repaired !== null, ...waitsFor, ...more };
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
