/** What the workflow `sweep` asks for. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Context, getClient } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { decodeArrayFromPayloads } from '@temporalio/common/lib/internal-non-workflow/index.js';
import { ReconcileError } from '../src/engine/index.js';
import { jittered, pauseAfter } from '../src/patience/pause.js';
import type { Batches } from '../src/sweep/hand-over.js';
import { sweepLink } from '../src/sweep/sweep.js';
import { isPermanent } from '../workflows/error-types.js';
import {
  type CompareLinkReply,
  type CompareLinkRequest,
  reached,
  type SweepActivities,
  type SweepOptions,
  type SweepReached,
  type SweepState,
  type SweepSummary,
  sweepWorkflowId,
  troubled,
} from '../workflows/sweep-messages.js';
import type { LinkRuntime, WorkflowRun } from './work.js';

/**
 * Well below the heartbeat timeout of the workflow (10 s). What was reached since the last one is
 * done again behind a crash; the worker sends them no more often than it allows.
 */
const HEARTBEAT_INTERVAL_MS = 500;
/** A large state, or one that has not changed, is not worth so much. */
const [SELDOM_MS, LARGE_BYTES] = [3_000, 16 * 1024];
/** Between two words to the workflow, of which each costs it some events: longer and longer. */
const [FIRST_WORD_MS, LONGEST_PAUSE_MS] = [1_000, 60_000];
/** Between attempts while a server does not answer. */
const PAUSES = { firstMs: 1_000, longestMs: 10_000 };
const MOST_SAID = 500;

const NOTHING_REACHED: SweepState = { parts: [], redone: 0, targetOnly: null };

/** Whose differences are handed over. */
export interface SweepRun {
  readonly link: string;
  /** The first run of the sweep. */
  readonly sweepId: string;
  /** That of the activity. */
  readonly workflow: WorkflowRun;
}

interface SweepDependencies {
  readonly links: ReadonlyMap<string, LinkRuntime>;
  readonly batchesOf: (sweep: SweepRun) => Batches;
  /** @returns null when one is under way */
  readonly start: (link: string, options: SweepOptions) => Promise<object | null>;
  /** Told of each sweep that has come to its end. Must not throw. */
  readonly onSwept: (sweep: EndedSweep, summary: SweepSummary) => void;
  /** Told of each that has failed for good. Must not throw. */
  readonly onFailed: (sweep: EndedSweep, error: Pick<ReconcileError, 'type' | 'message'>) => void;
}

type EndedSweep = Pick<CompareLinkRequest, 'link' | 'options'>;

export function createSweepActivities({
  links,
  batchesOf,
  start,
  onSwept,
  onFailed,
}: SweepDependencies): SweepActivities {
  // Another worker may have it: so it is left to the next attempt, and not waited for in here.
  const runtimeOf = (link: string, tell: (line: string) => void = () => {}) => {
    const runtime = links.get(link);
    if (runtime !== undefined) return runtime;
    const message = `link "${link}" is not in the configuration of this worker`;
    tell(`UnknownLink: ${message}`);
    throw ApplicationFailure.retryable(message, 'UnknownLink');
  };
  return {
    async startSweep({ link, options }) {
      runtimeOf(link);
      const sweep = (await start(link, options)) === null ? 'joined' : 'started';
      return { workflowId: sweepWorkflowId(link), sweep };
    },

    async lastReached() {
      const { workflowId, runId } = Context.current().info.workflowExecution!;
      const client = getClient().workflow;
      const { raw } = await client.getHandle(workflowId, runId).describe();
      const comparing = raw.pendingActivities?.find(({ activityType }) => activityType?.name === 'compareLink');
      const told = comparing?.heartbeatDetails?.payloads;
      const [state] = (await decodeArrayFromPayloads(client.options.loadedDataConverter, told)) ?? [];
      return (state as SweepState | undefined) ?? null;
    },

    async compareLink({ link, settleMs, options, state: given, sweepId }) {
      const { cancellationSignal: signal, info, heartbeat } = context();
      const tell = teller();
      const runtime = runtimeOf(link, (line) => {
        // Less and less often: each word costs events.
        if (Number.isInteger(Math.log2(info.attempt))) tell.problem(line);
      });
      const pulse = startPulse((info.heartbeatDetails as SweepState | undefined) ?? given, heartbeat);
      const workflow = info.workflowExecution!;
      const batches = options.repair ? batchesOf({ link, sweepId: sweepId ?? workflow.runId, workflow }) : undefined;
      const sweeping = (): Promise<CompareLinkReply> => {
        const { state } = pulse;
        const onProgress = (reached: SweepState, now: () => SweepReached) => {
          pulse.state = reached;
          tell(now);
        };
        const { sides, options: ofLink } = runtime;
        const told = { onProgress, onProblem: tell.problem };
        return sweepLink(sides, { ...ofLink, ...told, settleMs, options, state, batches, signal });
      };
      try {
        const reply = await untilAnswered(sweeping, {
          pulse,
          tell,
          signal,
          onFailed: (error) => onFailed({ link, options }, error),
        });
        if (reply.summary !== null) onSwept({ link, options }, reply.summary);
        return reply;
      } finally {
        pulse.stop();
      }
    },
  };
}

interface Patience {
  readonly pulse: { readonly state: SweepState | undefined };
  readonly tell: Tell;
  readonly signal: AbortSignal;
  readonly onFailed: (error: ReconcileError) => void;
}

/**
 * A server that is away is waited for in here: Temporal would wait between two attempts, in which a
 * pause can't ask what was reached.
 * @throws ApplicationFailure for what no further attempt mends; the cause stays in the worker, for
 *   a Redis error may carry the arguments of its command
 */
async function untilAnswered(
  sweeping: () => Promise<CompareLinkReply>,
  { pulse, tell, signal, onFailed }: Patience,
): Promise<CompareLinkReply> {
  let failed = 0;
  for (let before = pulse.state; ; before = pulse.state) {
    try {
      return await sweeping();
    } catch (error) {
      if (!(error instanceof ReconcileError)) throw error;
      const { type, message } = error;
      // Once a page is through it was right before, and what has changed since, a password say, is
      // mended sooner than all of it is done again.
      if (isPermanent(type) && !isBegun(pulse.state)) {
        onFailed(error);
        throw ApplicationFailure.create({ type, message, nonRetryable: true });
      }
      tell.problem(`${type}: ${message}`);
    }
    failed = pulse.state === before ? failed + 1 : 1;
    await sleep(jittered(pauseAfter(failed, PAUSES)), undefined, { signal }).catch(() => {});
    if (signal.aborted) return { state: pulse.state ?? NOTHING_REACHED, summary: null };
  }
}

function isBegun(state: SweepState | undefined): boolean {
  return state?.parts.some(({ done, passed }) => done || passed > 0) ?? false;
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
  let told = { state, atMs: performance.now() };
  const beat = () => {
    const { state: now } = pulse;
    const isWorthIt = now !== told.state && JSON.stringify(now).length < LARGE_BYTES;
    if (!isWorthIt && performance.now() - told.atMs < SELDOM_MS) return;
    told = { state: now, atMs: performance.now() };
    heartbeat(now);
  };
  const timer = setInterval(beat, HEARTBEAT_INTERVAL_MS);
  heartbeat(state);
  return pulse;
}

interface Tell {
  (now: () => SweepReached): void;
  /** If it is another one, and those before it were not too many. Over when the next word comes. */
  problem(line: string): void;
}

/** Tells the workflow now and then. What does not reach it is told the next time. */
function teller(): Tell {
  const { workflowId, runId } = Context.current().info.workflowExecution!;
  const workflow = getClient().workflow.getHandle(workflowId, runId);
  let pauseMs = FIRST_WORD_MS;
  let lastAt = performance.now();
  let told: string | null = null;
  let nextProblem = { atMs: Number.NEGATIVE_INFINITY, pauseMs: FIRST_WORD_MS };
  const tell = (now: () => SweepReached) => {
    if (told === null && performance.now() - lastAt < pauseMs) return;
    lastAt = performance.now();
    pauseMs = Math.min(LONGEST_PAUSE_MS, 1.2 * pauseMs);
    told = null;
    workflow.signal(reached, now()).catch(() => {});
  };
  const problem = (line: string) => {
    const nowMs = performance.now();
    if (line === told || nowMs < nextProblem.atMs) return;
    const { pauseMs } = nextProblem;
    nextProblem = { atMs: nowMs + pauseMs, pauseMs: Math.min(LONGEST_PAUSE_MS, 1.2 * pauseMs) };
    told = line;
    workflow.signal(troubled, line.slice(0, MOST_SAID)).catch(() => {});
  };
  return Object.assign(tell, { problem });
}
