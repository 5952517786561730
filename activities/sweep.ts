/** What the workflow `sweep` asks for. */
import { Context, getClient } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { ReconcileError } from '../src/engine/index.js';
import { sweepLink } from '../src/sweep/sweep.js';
import { isPermanent } from '../workflows/error-types.js';
import {
  reached,
  type SweepActivities,
  type SweepReached,
  type SweepState,
  type SweepSummary,
} from '../workflows/sweep-messages.js';
import type { LinkRuntime } from './work.js';

/** Well below the heartbeat timeout of the workflow (10 s). */
const HEARTBEAT_INTERVAL_MS = 3_000;
/** Between two words to the workflow, of which each costs it some events: longer and longer. */
const [FIRST_WORD_MS, LONGEST_PAUSE_MS] = [1_000, 60_000];

interface SweepDependencies {
  readonly links: ReadonlyMap<string, Pick<LinkRuntime, 'sides' | 'options'>>;
  /** Told what a sweep has found when it has come to its end. Must not throw. */
  readonly onSwept: (link: string, summary: SweepSummary) => void;
}

export function createSweepActivities({ links, onSwept }: SweepDependencies): SweepActivities {
  return {
    async compareLink({ link, settleMs, options, state: given }) {
      const runtime = links.get(link);
      if (runtime === undefined) {
        throw ApplicationFailure.retryable(`link "${link}" is not in the configuration of this worker`, 'UnknownLink');
      }
      const { cancellationSignal: signal, info, heartbeat } = context();
      const pulse = startPulse((info.heartbeatDetails as SweepState | undefined) ?? given, heartbeat);
      const tell = teller();
      const onProgress = (state: SweepState, now: () => SweepReached) => {
        pulse.state = state;
        tell(now);
      };
      try {
        const request = { ...runtime.options, settleMs, options, state: pulse.state, onProgress, signal };
        const reply = await sweepLink(runtime.sides, request);
        if (reply.summary !== null) onSwept(link, reply.summary);
        return reply;
      } catch (error) {
        if (!(error instanceof ReconcileError)) throw error;
        // The cause stays in the worker: a Redis error may carry the arguments of its command.
        const { type, message } = error;
        throw ApplicationFailure.create({ type, message, nonRetryable: isPermanent(type) });
      } finally {
        pulse.stop();
      }
    },
  };
}

function context() {
  const now = Context.current();
  const heartbeat = (state: SweepState | undefined) => now.heartbeat(state);
  return { cancellationSignal: now.cancellationSignal, info: now.info, heartbeat };
}

/** Says that this process lives, and how far it is, for the next attempt to go on from there. */
function startPulse(state: SweepState | undefined, heartbeat: (state: SweepState | undefined) => void) {
  const pulse = {
    state,
    stop: () => {
      clearInterval(timer);
      // An attempt that fails soon must not lose what was reached.
      heartbeat(pulse.state);
    },
  };
  const timer = setInterval(() => heartbeat(pulse.state), HEARTBEAT_INTERVAL_MS);
  heartbeat(state);
  return pulse;
}

/** Tells the workflow now and then. What does not reach it is told the next time. */
function teller(): (now: () => SweepReached) => void {
  const { workflowExecution } = Context.current().info;
  let pauseMs = FIRST_WORD_MS;
  let lastAt = performance.now();
  return (now) => {
    if (performance.now() - lastAt < pauseMs) return;
    lastAt = performance.now();
    pauseMs = Math.min(LONGEST_PAUSE_MS, 1.2 * pauseMs);
    const { workflowId, runId } = workflowExecution!;
    getClient()
      .workflow.getHandle(workflowId, runId)
      .signal(reached, now())
      .catch(() => {});
  };
}
