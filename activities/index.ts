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
} from '../src/engine/index.js';
import { keyBytes } from '../src/events/failed-write.js';
import type {
  Activities,
  AttemptErrorDetail,
  EscalateRequest,
  ReconcileReply,
  ReconcileRequest,
} from '../workflows/activities.js';
import { type ErrorType, isPermanent } from '../workflows/errors.js';
import type { Stage as WorkflowStage } from '../workflows/messages.js';

/** One link as a worker holds it. */
export interface LinkRuntime {
  readonly sides: LinkSides;
  readonly options: ReconcileOptions;
}

export interface ActivityDependencies {
  readonly links: ReadonlyMap<string, LinkRuntime>;
  /** Resolves when the dead-letter topic has acknowledged the record. */
  readonly publishEscalation: (request: EscalateRequest, workflow: WorkflowRun) => Promise<void>;
  /**
   * Told once how an attempt at a key ended, and how long it took, in ms. Not of one that was
   * cancelled, nor of a value that turned out to be large before anything was done: its durable
   * attempt follows. Must not throw.
   */
  readonly onResult: (result: EndedResult, durationMs: number, attempt: { readonly link: string }) => void;
}

/** How an attempt at a key ended. */
export type EndedResult = Exclude<KeyResult, { outcome: 'large' }>;

export interface WorkflowRun {
  readonly workflowId: string;
  readonly runId: string;
}

/**
 * Below the heartbeat timeout of the workflow's durable activity (10 s) with room for a slow
 * network.
 */
const HEARTBEAT_INTERVAL_MS = 3_000;

export function create({ links, publishEscalation, onResult }: ActivityDependencies): Activities {
  return {
    async reconcile(request: ReconcileRequest): Promise<ReconcileReply> {
      const { attempt, isLocal } = Context.current().info;
      const link = links.get(request.link);
      if (link === undefined) {
        const type: WorkerError = 'UnknownLink';
        throw ApplicationFailure.create({
          type,
          message: `link "${request.link}" is not in the configuration of this worker; add it there, or skip the key`,
          nonRetryable: isPermanent(type),
        });
      }
      const key = { key: keyBytes(request), scope: scopeOf(request.hint), allowDelete: request.allowDelete };
      const begunAt = performance.now();
      const result = await reconcileOne(link, key, isLocal);
      if (result.outcome === 'large') return { outcome: 'large' };
      onResult(result, performance.now() - begunAt, { link: request.link });
      return reply(result, attempt);
    },

    async escalate(request: EscalateRequest): Promise<void> {
      const { workflowExecution } = Context.current().info;
      await publishEscalation(request, workflowExecution!);
    },
  };
}

/**
 * @param isLocal a local attempt leaves a large value alone, because that takes longer than a
 *   workflow task may
 */
async function reconcileOne({ sides, options: ofLink }: LinkRuntime, key: KeyRequest, isLocal: boolean) {
  const options = { ...ofLink, signal: Context.current().cancellationSignal };
  const pulse = isLocal ? null : startPulse<LargeKeyProgress>();
  try {
    const [result] = await reconcileKeys(sides, [key], options);
    if (result!.outcome !== 'large' || pulse === null) return result!;
    return await reconcileLargeKey(sides, key, { ...options, resume: pulse.resume, onProgress: pulse.report });
  } finally {
    pulse?.stop();
  }
}

/**
 * Says that this process lives, so that another worker takes over soon after it does not, and how
 * far it has come, so that the other can go on from there.
 */
function startPulse<Progress>() {
  const context = Context.current();
  const resume = context.info.heartbeatDetails as Progress | undefined;
  let progress = resume;
  // With what was reported last, also when there is nothing new: the server keeps only the last
  // details.
  const beat = () => context.heartbeat(progress);
  const timer = setInterval(beat, HEARTBEAT_INTERVAL_MS);
  // An attempt that fails before its first heartbeat must not lose what an earlier one had reached.
  beat();
  return {
    resume,
    report(reached: Progress | undefined) {
      progress = reached;
      beat();
    },
    stop: () => clearInterval(timer),
  };
}

type Same<One, Other> = [One, Other] extends [Other, One] ? true : false;

/** The errors that concern the worker itself and not the two sides. */
type WorkerError = 'UnknownLink';
// The engine's words go on as they are. A word that either side alone has does not compile.
void (true satisfies Same<ReconcileErrorType, Exclude<ErrorType, WorkerError>>);
void (true satisfies Same<Stage, Exclude<WorkflowStage, 'decode' | 'signal'>>);

function reply(result: EndedResult, attempt: number): ReconcileReply {
  switch (result.outcome) {
    case 'equal':
      return { outcome: 'equal', summary: 'equal', attempt };
    case 'repaired':
      return { outcome: 'repaired', summary: `${result.action} ${result.type}, ${result.bytes} bytes`, attempt };
    case 'deferred':
      return {
        outcome: 'deferred',
        retryAfterMs: result.retryAfterMs,
        wrote: result.repaired !== null,
        attempt,
      };
    case 'failed': {
      const { type, message, stage } = result.error;
      const detail: AttemptErrorDetail = { stage, attempt, ...(result.wrote && { wrote: true }) };
      // The cause stays in the worker: a Redis error may carry the arguments of its command.
      throw ApplicationFailure.create({ type, message, nonRetryable: isPermanent(type), details: [detail] });
    }
  }
}
