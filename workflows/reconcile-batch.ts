/**
 * The workflow `reconcileBatch`: many keys of one link in one run, for a backlog in which a
 * workflow for each key would cost too much. It ends when each key is healed or has a workflow of
 * its own, also when it is cancelled.
 */
import {
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  proxyActivities,
  proxyLocalActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import {
  ALL_EQUAL,
  BATCH_KEYS,
  type BatchActivities,
  type BatchInput,
  type BatchReply,
  type BatchResult,
  type BatchStatus,
  keyStatus,
  retry,
  status,
} from './batch-messages.js';
import {
  type BatchRun,
  dueKeys,
  giveUpAll,
  keyIn,
  latestProof,
  leaving,
  newRun,
  nextDue,
  type OpenKey,
  rangesOf,
  takeReply,
} from './batch-run.js';
import { asText, outageLine } from './details.js';
import { failedAttempt } from './failed-attempt.js';
import { firstWithin } from './json-bytes.js';
import type { State } from './messages.js';

/** A result that is followed by nothing is kept as long as the workflow. */
const MOST_WENT_ON = { items: BATCH_KEYS, bytes: 64 * 1024 };

// What a local activity is asked is not in the history, which for a thousand keys is most of it.
const { reconcileBatch: attempt } = proxyLocalActivities<BatchActivities>({
  startToCloseTimeout: '9 seconds',
  retry: { maximumAttempts: 1 },
});
const { handOver } = proxyActivities<BatchActivities>({
  startToCloseTimeout: '1 hour',
  heartbeatTimeout: '10 seconds',
  retry: { initialInterval: '1 second', maximumInterval: '1 minute' },
});

export async function reconcileBatch(input: BatchInput): Promise<BatchResult> {
  const { link, part, policy } = input;
  const keys = input.carried?.keys ?? input.writes.length;
  const run = newRun(input);
  let state: State = 'reconciling';
  let asked = false;
  const now = (): BatchStatus => {
    const { equal, repaired, handedOver, outage, lastError } = run;
    const next = nextDue(run);
    const waits = (state === 'waiting' || state === 'retrying') && Number.isFinite(next);
    const nextTry = waits ? new Date(next).toISOString() : null;
    return { link, part, state, keys, equal, repaired, handedOver, outage, lastError, nextTry };
  };
  const enter = (next: State) => {
    state = next;
    setCurrentDetails(describeBatch(now()));
  };
  setHandler(status, now);
  setHandler(keyStatus, (key) => keyIn(run, key));
  setHandler(retry, () => {
    asked = true;
  });

  let wentOn = input.carried?.wentOn ?? [];
  /** Whatever becomes of this run, each of these keys is somebody's. */
  const giveAway = async () => {
    if (run.handOver.length === 0) return;
    const writes = run.handOver;
    enter('retrying');
    const afterMs = Math.max(0, run.handOverAt - Date.now());
    await CancellationScope.nonCancellable(() =>
      handOver({ link, policy, part, writes, ...(afterMs > 0 && { afterMs }) }),
    );
    run.handOver = [];
    run.handedOver += writes.length;
    const named = writes.map(({ key, encoding = 'utf8' }) => ({ key, encoding }));
    wentOn = firstWithin([...wentOn, ...named], MOST_WENT_ON);
  };

  let tried: readonly OpenKey[] = [];
  try {
    while (run.open.size > 0) {
      enter(run.lastError === null ? 'reconciling' : 'retrying');
      tried = dueKeys(run, Date.now(), asked);
      asked = false;
      if (tried.length > 0) takeReply(run, tried, await attempted(input, run, tried), Date.now());
      tried = [];
      await giveAway();
      if (run.open.size === 0) break;
      if (mustContinueAsNew()) {
        const writes = [...run.open].map((key) => leaving(key, Date.now()));
        const carried = { ...now(), provesAt: latestProof(run), wentOn };
        return await continueAsNew<typeof reconcileBatch>({ ...input, writes, carried });
      }
      enter(waitingFor(run));
      await condition(() => asked, Math.max(1, nextDue(run) - Date.now()));
    }
  } catch (error) {
    if (!isCancellation(error)) throw error;
    giveUpAll(run, tried, Date.now());
    await giveAway();
  }
  enter('done');
  return { ...now(), wentOn };
}

/** Not when it was cancelled while keys were given away: the next run would not know of it. */
function mustContinueAsNew(): boolean {
  return workflowInfo().continueAsNewSuggested && !CancellationScope.current().consideredCancelled;
}

async function attempted(
  { link, policy, part }: BatchInput,
  run: BatchRun,
  tried: readonly OpenKey[],
): Promise<BatchReply> {
  try {
    const isSettled = Date.now() >= workflowInfo().runStartTime.getTime() + policy.settleMs;
    const writes = tried.map(({ write }) => write);
    return await attempt({ link, policy, part, writes, isSettled, asked: rangesOf(run, tried) });
  } catch (failure) {
    if (isCancellation(failure)) throw failure;
    // Of the whole call: no key is to blame.
    const { error } = failedAttempt(failure);
    const indices = [...tried.keys()];
    const effect = error.type === 'UnknownLink' ? 'nothing' : 'unknown';
    return { ...ALL_EQUAL, failed: [{ indices, error, permanent: false, effect }] };
  }
}

function waitingFor(run: BatchRun): State {
  if (run.outage !== null) return 'waiting';
  const keys = [...run.open];
  if (keys.some(({ tries }) => tries > 0)) return 'retrying';
  return keys.some(({ repairs }) => repairs > 0) ? 'verifying' : 'waiting';
}

/** Markdown for the Web UI. */
function describeBatch({ link, state, keys, equal, repaired, handedOver, ...more }: BatchStatus): string {
  const { part, outage, lastError, nextTry } = more;
  const place = `${part.topic}[${part.partition}] ${part.first} to ${part.last}`;
  return [
    `**${state}** · link ${asText(link)} · ${equal + repaired} of ${keys} keys healed`,
    '',
    `- failed writes: ${asText(place)}`,
    `- found equal: ${equal}, repaired: ${repaired}`,
    ...(handedOver === 0 ? [] : [`- went on as workflows of their own: ${handedOver}`]),
    ...(lastError === null ? [] : [`- last error: **${asText(lastError.type)}**: ${asText(lastError.message)}`]),
    ...(outage === null ? [] : [`- waits for ${asText(outageLine(outage))}`]),
    ...(nextTry === null ? [] : [`- next try by itself: ${nextTry}; the signal \`retry\` makes it now`]),
  ].join('\n');
}
