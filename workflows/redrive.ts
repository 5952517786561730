/**
 * The workflow `redrive`: dead letters are tried again by the state of their keys, or discarded, in
 * steps that grow while they succeed. Each step is two activities: the first tries and changes no
 * letter, and what it answers is kept before the second closes them. So whoever dies at any moment,
 * no letter is lost, and none counts twice.
 */
import {
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  patched,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { asText } from './details.js';
import {
  type LetterFilter,
  pause,
  progress,
  type RedriveActivities,
  type RedriveInput,
  type RedriveOrder,
  type RedriveOutcome,
  type RedriveResult,
  rate,
  resume,
} from './redrive-messages.js';
import { newRun, nextRound, nextStep, type RedriveRun, takeStep } from './redrive-run.js';

// Tries that fail cost no event, and the Web UI shows what the last one met: a server that is out
// is waited for here, and no letter has failed.
const { tryLetters, closeLetters, countNew } = proxyActivities<RedriveActivities>({
  startToCloseTimeout: '12 hours',
  heartbeatTimeout: '10 seconds',
  retry: { initialInterval: '1 second', backoffCoefficient: 2, maximumInterval: '10 seconds' },
});

export async function redrive(input: RedriveInput): Promise<RedriveResult> {
  const { action, filter, by, reason } = input;
  const order: RedriveOrder = { action, filter, by, reason };
  const run = newRun(input, workflowInfo().workflowId, Date.now());
  listen(run, order);
  let outcome: RedriveOutcome;
  try {
    outcome = await untilDone(run, input, order);
  } catch (error) {
    if (!isCancellation(error)) throw error;
    outcome = 'cancelled';
  }
  const newMeanwhile = outcome === 'cancelled' ? null : await countedNew(run, filter);
  run.state = 'done';
  show(run, order);
  const { redriveId, startedAt, counts, failures, equalKeys, waitsFor } = run;
  const reached = { counts, failures, equalKeys, waitsFor };
  return { ...order, redriveId, outcome, startedAt, finishedAt: new Date().toISOString(), ...reached, newMeanwhile };
}

/**
 * Letters that came meanwhile are no part of it: that the cause is not mended shows by them.
 * @returns null: not counted. One that is cancelled by now has done its work all the same
 */
async function countedNew({ ends, redriveId }: RedriveRun, filter: LetterFilter): Promise<number | null> {
  if (ends === null) return null;
  try {
    return await countNew({ filter, passed: ends, redriveId });
  } catch (error) {
    // Before, such a run ended as cancelled, without what it had come to.
    if (!isCancellation(error) || !patched('counts-although-cancelled')) throw error;
    return null;
  }
}

function listen(run: RedriveRun, order: RedriveOrder): void {
  setHandler(progress, () => {
    const { state, startedAt, step, counts, failures, equalKeys, waitsFor } = run;
    return { ...order, state, startedAt, step, counts, failures, equalKeys, waitsFor };
  });
  const become = (state: RedriveRun['state']) => {
    run.state = state;
    show(run, order);
  };
  setHandler(pause, () => become('paused'), { description: 'The step under way ends; no further one begins.' });
  setHandler(resume, () => become('running'));
  const onRate = (request?: { lettersPerSecond?: unknown }) => {
    // By hand, most likely: what can't be read must not stop the workflow.
    const wanted = request?.lettersPerSecond ?? null;
    if (wanted !== null && !(typeof wanted === 'number' && wanted > 0)) return;
    run.rate = wanted ?? undefined;
    run.dueAt = Date.now();
  };
  setHandler(rate, onRate, {
    description: 'So fast from now on: `{"lettersPerSecond": 100}`; null: as fast as it goes.',
  });
  show(run, order);
}

async function untilDone(run: RedriveRun, input: RedriveInput, order: RedriveOrder): Promise<RedriveOutcome> {
  const { historyEventsPerRun = Number.POSITIVE_INFINITY } = input;
  const { filter, ...audit } = order;
  const { action } = audit;
  for (;;) {
    await mayBegin(run);
    if (workflowInfo().continueAsNewSuggested || workflowInfo().historyLength >= historyEventsPerRun) {
      // JSON carries no rate that was taken away: so the one of the start is not given on either.
      await continueAsNew<typeof redrive>({ ...input, rate: run.rate, carried: { ...run } });
    }
    const most = nextStep(run, input);
    if (most.mostLetters === 0) return 'limited';
    const { redriveId, passed, ends, storeId, round } = run;
    const reply = await tryLetters({ action, filter, passed, ends, storeId, again: round > 0, ...most });
    const { resolved, failed } = reply;
    if (resolved.length + failed.length > 0) {
      const of = { redriveId, order: audit, storeId: reply.storeId ?? null };
      const closing = { ...of, passed, ends: reply.passed, resolved, failed };
      // What was tried is counted, so its letters are closed, also when this is cancelled.
      await CancellationScope.nonCancellable(() => closeLetters(closing));
    }
    const failsTooOften = takeStep(run, reply, input, Date.now());
    show(run, order);
    if (reply.isLast && run.waiting === null) return 'done';
    if (failsTooOften) return 'stopped';
    if (!reply.isLast) continue;
    if (input.leavesWaiting) return 'waiting';
    // A pause goes before it, as before each step.
    await condition(() => run.state === 'paused', nextRound(run));
  }
}

/** Waits while it is paused, and for the rate. */
async function mayBegin(run: RedriveRun): Promise<void> {
  for (;;) {
    await condition(() => run.state !== 'paused');
    const { dueAt } = run;
    const waitMs = run.rate === undefined ? 0 : dueAt - Date.now();
    if (waitMs <= 0) return;
    await condition(() => run.state === 'paused' || run.dueAt !== dueAt, waitMs);
  }
}

function show(run: RedriveRun, order: RedriveOrder): void {
  setCurrentDetails(describe(run, order));
}

/** Markdown for the Web UI. */
function describe(
  { state, counts, failures, startedAt, waitsFor }: RedriveRun,
  { action, by, reason }: RedriveOrder,
): string {
  const { redriven, healed, alreadyEqual, failedAgain, discarded, unusable, exhausted, waiting } = counts;
  return [
    `**${state}** · ${action} of dead letters, by ${asText(by)}${reason === undefined ? '' : ` (${asText(reason)})`}`,
    '',
    `- since: ${startedAt}`,
    ...(action === 'discard'
      ? [`- discarded: ${discarded}`]
      : [`- redriven: ${redriven}, healed: ${healed}, equal already: ${alreadyEqual}, failed again: ${failedAgain}`]),
    ...(waiting > 0 ? [`- waiting for ${asText(waitsFor ?? 'a server')}, which does not answer: ${waiting}`] : []),
    ...(unusable > 0 ? [`- left, for they name no key that can be repaired: ${unusable}`] : []),
    ...(exhausted > 0 ? [`- left, for they were redriven too often: ${exhausted}`] : []),
    ...failures
      .slice(0, 3)
      .map(({ type, message, letters }) => `- ${letters}: **${asText(type)}**: ${asText(message)}`),
    ...(state === 'running' ? ['', 'Signals: `pause`, `resume`, `rate` with `{"lettersPerSecond": 100}`.'] : []),
  ].join('\n');
}
