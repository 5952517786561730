/** The workflow `sweep`: one activity compares the link; this holds what was found and is asked. */
import {
  ActivityCancellationType,
  ActivityFailure,
  CancellationScope,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  isCancellation,
  patched,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  TimeoutFailure,
  workflowInfo,
} from '@temporalio/workflow';
import { asText } from './details.js';
import { acknowledge, gapWorkflowId, sweeping } from './gap-messages.js';
import { DEFAULT_POLICY } from './policy.js';
import {
  askedOf,
  type CompareLinkReply,
  type CompareLinkRequest,
  comparesAll,
  pause,
  progress,
  rate,
  reached,
  resume,
  type SweepActivities,
  type SweepInput,
  type SweepProgress,
  type SweepReached,
  type SweepResult,
  type SweepState,
  type SweepSummary,
  troubled,
} from './sweep-messages.js';

// Tries that fail cost no event, and the Web UI shows what the last one met. A sweep of days is one
// activity, which another worker goes on with where its worker dies.
const { compareLink } = proxyActivities<SweepActivities>({
  startToCloseTimeout: '90 days',
  heartbeatTimeout: '10 seconds',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '1 second', backoffCoefficient: 2, maximumInterval: '10 seconds' },
});

// Not a local one: watchers query all the time, and a query in its task could let a replay have its
// answer before the end of the comparison that came first (`inTaskOfItsOwn` in escalation.ts).
const { lastReached } = proxyActivities<SweepActivities>({
  startToCloseTimeout: '5 seconds',
  retry: { maximumAttempts: 3, initialInterval: '100 milliseconds' },
});

const NOTHING: SweepReached = {
  percent: 0,
  etaSeconds: null,
  compared: 0,
  differing: { missing: 0, extra: 0, type: 0, value: 0, expiry: 0 },
  repaired: 0,
  unsettled: 0,
  failed: 0,
};

export async function sweep(input: SweepInput): Promise<SweepResult> {
  const { link, settleMs = DEFAULT_POLICY.settleMs, options = {}, carried } = input;
  const { historyEventsPerRun = Number.POSITIVE_INFINITY } = input;
  const sweepId = carried?.sweepId ?? workflowInfo().runId;
  let state = carried?.state;
  const { keys } = options;
  let asked = askedOf(options);
  const startedAt = carried?.progress.startedAt ?? new Date().toISOString();
  let now: SweepProgress = carried?.progress ?? { link, options: asked, state: 'comparing', startedAt, ...NOTHING };
  let interrupted = false;
  const isLong = () => workflowInfo().continueAsNewSuggested || workflowInfo().historyLength >= historyEventsPerRun;
  const become = (news: Partial<SweepProgress>) => {
    now = { ...now, options: asked, ...news };
    setCurrentDetails(describeSweep(now));
  };
  setHandler(progress, () => now);
  // By hand, most likely, as in the others below: what can't be read must not stop the workflow.
  setHandler(reached, (news) => {
    if (isReached(news)) become({ ...news, problem: null });
  });
  setHandler(troubled, (problem) => {
    if (typeof problem === 'string') become({ problem });
  });
  setHandler(pause, () => become({ state: 'paused' }), { description: 'Nothing more is compared until `resume`.' });
  setHandler(resume, () => become({ state: 'comparing' }));
  const onRate = (request?: { keysPerSecond?: unknown }) => {
    const wanted = request?.keysPerSecond ?? null;
    if (wanted !== null && !(typeof wanted === 'number' && wanted > 0)) return;
    asked = { ...asked, rate: wanted ?? undefined };
    interrupted = true;
    become({});
  };
  setHandler(rate, onRate, { description: 'So fast from now on: `{"keysPerSecond": 20000}`; null: gently.' });
  become({});
  if (carried === undefined && comparesAll(options)) {
    const { taskQueue } = workflowInfo();
    await tellGap(link, (gap) => gap.signal(sweeping, { sweepId, taskQueue }));
  }

  let reply: CompareLinkReply | null = null;
  while (reply?.summary == null) {
    await condition(() => now.state !== 'paused');
    if (isLong()) {
      await continueAsNew<typeof sweep>({
        ...input,
        options: { ...asked, keys },
        carried: { state, progress: now, sweepId },
      });
    }
    interrupted = false;
    const stop = condition(() => interrupted || now.state === 'paused' || isLong());
    reply = await compareUntil(stop, { link, settleMs, options: { ...asked, keys }, state, sweepId });
    state = reply?.state ?? state;
  }
  const { summary } = reply;
  become({ ...reachedBy(summary), state: 'done', problem: null });
  if (comparesAll(options) && summary.outcome === 'equal' && summary.targetOnly !== 'skipped') {
    const reason = `a sweep that began at ${startedAt} found both sides equal`;
    await tellGap(link, (gap) => gap.signal(acknowledge, { reason, sweepId }));
  }
  return { link, options: asked, startedAt, finishedAt: new Date().toISOString(), ...summary };
}

/**
 * Compares to the end, or until it is stopped: its answer is then what it has reached, and is
 * awaited, for two at once would find each difference twice.
 * @returns null when it was stopped and did not say how far it was: what it had found since it
 *   began is found again
 */
async function compareUntil(stop: Promise<void>, request: CompareLinkRequest): Promise<CompareLinkReply | null> {
  const work = new CancellationScope();
  const comparing = work.run(() => compareLink(request));
  const isOver = comparing.then(
    () => true,
    () => true,
  );
  // Where this workflow is cancelled, so is the comparison, and what is awaited next ends the loop.
  const isStopped = stop.then(
    () => false,
    () => false,
  );
  const isRunning = !(await Promise.race([isOver, isStopped]));
  // Between two attempts, as without a worker, the server cancels it at once, and what it had
  // reached is gone with it.
  const told = isRunning && patched('keeps-what-was-reached') ? await lastReached().catch(() => null) : null;
  if (isRunning) work.cancel();
  return comparing.catch((error: unknown) => {
    // An attempt that fails, or dies, while it is asked to stop is not made again: its failure is
    // that of the activity then, and no reason to end the sweep.
    const isOurs = work.consideredCancelled && !CancellationScope.current().consideredCancelled;
    if (!isOurs || !(isCancellation(error) || error instanceof ActivityFailure)) throw error;
    const { cause } = error as ActivityFailure;
    const state = cause instanceof TimeoutFailure ? (cause.lastHeartbeatDetails as SweepState | undefined) : undefined;
    return state || told ? { state: (state ?? told)!, summary: null } : null;
  });
}

/** Most links have no gap: then there is nobody to be told. */
async function tellGap(
  link: string,
  tell: (gap: ReturnType<typeof getExternalWorkflowHandle>) => Promise<void>,
): Promise<void> {
  await tell(getExternalWorkflowHandle(gapWorkflowId(link))).catch((error: unknown) => {
    if (isCancellation(error)) throw error;
  });
}

function isReached(news: unknown): news is SweepReached {
  const { percent, differing } = (news ?? {}) as Partial<SweepReached>;
  return typeof percent === 'number' && differing !== undefined && differing !== null;
}

function reachedBy({ compared, differing, handedOver, repaired, unsettled, failed }: SweepSummary): SweepReached {
  return { percent: 100, etaSeconds: 0, compared, differing, handedOver, repaired, unsettled, failed };
}

/** Markdown for the Web UI. */
function describeSweep(sweep: SweepProgress): string {
  const {
    state,
    link,
    percent,
    etaSeconds,
    compared,
    differing,
    repaired,
    handedOver = 0,
    unsettled,
    failed,
    startedAt,
    problem,
  } = sweep;
  const left = state === 'comparing' && typeof etaSeconds === 'number' ? `, about ${etaSeconds} s left` : '';
  const kinds = Object.entries(differing).flatMap(([kind, count]) => (count > 0 ? [`${kind}: ${count}`] : []));
  return [
    `**${state}** · link ${asText(link)} · ${percent.toFixed(1)} %${left}`,
    '',
    `- since: ${startedAt}`,
    `- keys compared: ${compared}`,
    `- differing: ${kinds.length === 0 ? 'none' : kinds.join(', ')}`,
    ...(problem == null ? [] : [`- tries again: ${asText(problem)}`]),
    ...(handedOver > 0 ? [`- healed: ${repaired} of ${handedOver} that batches have taken`] : []),
    ...(unsettled + failed > 0 ? [`- not compared: ${unsettled + failed}`] : []),
  ].join('\n');
}
