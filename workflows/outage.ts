/** The workflow `outage`: opened by the worker that notices, closed when the server answers. */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  condition,
  continueAsNew,
  isCancellation,
  patched,
  proxyActivities,
  proxyLocalActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { asText } from './details.js';
import {
  noticed,
  type OutageActivities,
  type OutageInput,
  type OutageReport,
  type OutageStatus,
  status,
} from './outage-messages.js';

/** What is kept of them; of others it is not known how many keys wait. */
const MOST_WORKERS = 1_000;
/** What one worker alone does not reach is over sooner: another one is asked within seconds. */
const LONG_MS = 60_000;

// Tries that fail cost no event, and the Web UI shows how many there were and what the last one
// met.
const { answers } = proxyActivities<OutageActivities>({
  startToCloseTimeout: '30 seconds',
  retry: { initialInterval: '1 second', backoffCoefficient: 2, maximumInterval: '10 seconds' },
  summary: 'asks the server until it answers',
});
const { announce } = proxyLocalActivities<OutageActivities>({
  startToCloseTimeout: '5 seconds',
  retry: { maximumAttempts: 3 },
  summary: 'told to the log',
});
const { notifyOutage } = proxyActivities<OutageActivities>({
  startToCloseTimeout: '30 seconds',
  retry: { initialInterval: '1 second', backoffCoefficient: 2, maximumAttempts: 8 },
  summary: 'told to the webhook of the link',
});

export async function outage(input: OutageInput): Promise<OutageStatus> {
  const { link, shard, since, reason, notify = false, carried = {} } = input;
  // In front of every local activity, where it is right. A worker of before may do the first task.
  const hears = patched('notifies-when-told-to');
  let isNotified = notify && (hears || patched('notifies-the-webhook'));
  let wish: OutageReport['notify'];
  const waiting = new Map(Object.entries(carried));
  let until: string | null = null;
  let isRemoved = false;
  const now = (): OutageStatus => {
    const keysWaiting = [...waiting.values()].reduce((sum, keys) => sum + keys, 0);
    return { link, shard, since, reason, until, ...(isRemoved && { isRemoved }), keysWaiting };
  };
  setHandler(status, now);
  const onNoticed = (report?: Partial<OutageReport>) => {
    const { worker, keysWaiting, notify } = report ?? {};
    // By hand, most likely: what can't be read must not stop the workflow.
    if (typeof worker !== 'string' || !Number.isSafeInteger(keysWaiting)) return;
    if (waiting.has(worker) || waiting.size < MOST_WORKERS) waiting.set(worker, keysWaiting!);
    if (wish !== 'now' && (notify === 'now' || notify === 'when-long')) wish = notify;
    setCurrentDetails(describeOutage(now()));
  };
  setHandler(noticed, onNoticed, { description: 'A worker meets it: `{"worker": "…", "keysWaiting": 1}`.' });
  setCurrentDetails(describeOutage(now()));

  const isContinued = workflowInfo().continuedFromExecutionRunId !== undefined;
  if (!isContinued) {
    await announced(now());
    if (isNotified) await notified(now());
  }
  let isLeft = false;
  const tellLate = async () => {
    if (!hears || isNotified || !(await isWanted({ wish: () => wish, isLeft: () => isLeft }))) return;
    isNotified = true;
    await notified(now());
  };
  const toldLate = tellLate().catch((error: unknown) => {
    if (!isCancellation(error)) throw error;
  });
  const asking = new CancellationScope();
  const isOver = asking
    .run(() => answers({ link, shard }))
    .then(
      () => true,
      (error: unknown) => {
        if (isCancellation(error)) return false;
        isRemoved = isUnknownLink(error);
        if (!isRemoved) throw error;
        return true;
      },
    );
  const isLong = condition(() => workflowInfo().continueAsNewSuggested).then(() => false);
  const hasAnswered = await Promise.race([isOver, isLong]);
  isLeft = true;
  if (!hasAnswered) {
    asking.cancel();
    // It may have answered at the same moment.
    if (!(await isOver)) {
      await toldLate;
      return goOn({ ...input, notify: notify || isNotified, carried: Object.fromEntries(waiting) });
    }
  }
  until = new Date().toISOString();
  setCurrentDetails(describeOutage(now()));
  await announced(now());
  await toldLate;
  if (isNotified) await notified(now());
  return now();
}

/** In another run, which would not know of a cancel that has come meanwhile. */
function goOn(input: OutageInput): Promise<never> {
  if (CancellationScope.current().consideredCancelled) throw new CancelledFailure('cancelled');
  return continueAsNew<typeof outage>(input);
}

function isUnknownLink(error: unknown): boolean {
  const cause = error instanceof ActivityFailure ? error.cause : undefined;
  return cause instanceof ApplicationFailure && cause.type === 'UnknownLink';
}

/** A worker that stands still loses a line of its log, and nothing else: the end is still told. */
async function announced(outage: OutageStatus): Promise<void> {
  await announce(outage).catch(unlessCancelled);
}

/** What can't be told holds up nothing: the log has it. */
async function notified(outage: OutageStatus): Promise<void> {
  await notifyOutage(outage).catch(unlessCancelled);
}

function unlessCancelled(error: unknown): void {
  if (isCancellation(error)) throw error;
}

interface Listening {
  readonly wish: () => OutageReport['notify'];
  readonly isLeft: () => boolean;
}

/** @returns whether a worker wants it told before this run is left */
async function isWanted({ wish, isLeft }: Listening): Promise<boolean> {
  await condition(() => wish() !== undefined || isLeft());
  await condition(() => wish() === 'now' || isLeft(), LONG_MS);
  return !isLeft();
}

/** Markdown for the Web UI. */
function describeOutage({ link, shard, since, reason, until, isRemoved, keysWaiting }: OutageStatus): string {
  return [
    `**${until === null ? 'out' : 'over'}** · link ${asText(link)} · shard ${asText(shard)}`,
    '',
    `- has not answered since: ${since} (${asText(reason)})`,
    ...(until === null
      ? []
      : [`- ${isRemoved ? 'no worker knows the link any more' : 'answers again since'}: ${until}`]),
    `- keys that ${until === null ? 'wait' : 'waited'}, about: ${keysWaiting}`,
    ...(until === null
      ? ['', 'No key has failed: each waits, without using up an attempt. **Next step:** see why this server is away.']
      : []),
  ].join('\n');
}
