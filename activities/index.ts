/** What the workflow asks for. Each call may run twice, and an attempt may outlive its timeout: the engine's writes are fenced. */
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { KeyResult, LinkSides, ReconcileOptions } from '../src/engine/index.js';
import { type LargeKeyProgress, reconcileKeys, reconcileLargeKey, scopeOf } from '../src/engine/index.js';
import { keyBytes } from '../src/events/failed-write.js';
import type {
  Activities,
  AttemptErrorDetail,
  EscalateRequest,
  ReconcileReply,
  ReconcileRequest,
} from '../workflows/messages.js';

/** One link as a worker holds it. */
export interface LinkRuntime {
  readonly sides: LinkSides;
  readonly options: ReconcileOptions;
}

export interface ActivityDependencies {
  readonly links: ReadonlyMap<string, LinkRuntime>;
  /** Resolves when the dead-letter topic has acknowledged the record. */
  readonly publishEscalation: (request: EscalateRequest, workflow: WorkflowRun) => Promise<void>;
}

export interface WorkflowRun {
  readonly workflowId: string;
  readonly runId: string;
}

/** Below the heartbeat timeout of the workflow's durable activity (10 s) with room for a slow network. */
const HEARTBEAT_INTERVAL_MS = 3_000;

export function create({ links, publishEscalation }: ActivityDependencies): Activities {
  return {
    async reconcile(request: ReconcileRequest): Promise<ReconcileReply> {
      const { attempt, isLocal } = Context.current().info;
      const link = links.get(request.link);
      if (link === undefined) {
        throw ApplicationFailure.retryable(
          `link "${request.link}" is not in the configuration of this worker; add it there, or skip the key`,
          'UnknownLink',
        );
      }
      const keyRequest = { key: keyBytes(request), scope: scopeOf(request.hint), allowDelete: request.allowDelete };
      const options = { ...link.options, signal: Context.current().cancellationSignal };
      const pulse = isLocal ? null : startPulse<LargeKeyProgress>();
      try {
        const [result] = await reconcileKeys(link.sides, [keyRequest], options);
        // It takes longer than a workflow task may: the workflow asks again, durably.
        if (result!.outcome !== 'large' || pulse === null) return reply(result!, attempt);
        const large = { ...options, resume: pulse.resume, onProgress: pulse.report };
        return reply(await reconcileLargeKey(link.sides, keyRequest, large), attempt);
      } finally {
        pulse?.stop();
      }
    },

    async escalate(request: EscalateRequest): Promise<void> {
      const { workflowExecution } = Context.current().info;
      await publishEscalation(request, workflowExecution!);
    },
  };
}

/**
 * Says that this process lives, so that another worker takes over soon after it does not, and how far it has come, so that the
 * other can go on from there.
 */
function startPulse<Progress>() {
  const context = Context.current();
  const resume = context.info.heartbeatDetails as Progress | undefined;
  let progress = resume;
  // With what was reported last, also when there is nothing new: the server keeps only the last details.
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

function reply(result: KeyResult, attempt: number): ReconcileReply {
  switch (result.outcome) {
    case 'equal':
      return { outcome: 'equal', summary: 'equal', attempt };
    case 'large':
      return { outcome: 'large' };
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
      const { type, message, stage, retryable } = result.error;
      const detail: AttemptErrorDetail = { stage, attempt, ...(result.wrote && { wrote: true }) };
      // The cause stays in the worker: a Redis error may carry the arguments of its command.
      throw ApplicationFailure.create({ type, message, nonRetryable: !retryable, details: [detail] });
    }
  }
}
