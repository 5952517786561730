/**
 * The workflow `notices` of a link: what happens is gathered for a while and told in one message to
 * the webhook of the link. It ends when nothing is left to tell. No repair waits for it: a webhook
 * that is away costs nothing but its own messages, which wait here, gathered.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  condition,
  continueAsNew,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { asText } from './details.js';
import { inShort } from './error-types.js';
import {
  happened,
  type News,
  type Notice,
  type NoticesActivities,
  type NoticesInput,
  type NoticesStatus,
  retry,
  status,
} from './notices-messages.js';
import { makeNotice, NOTHING_WAITS, nextDue, noteFailed, noteLeftOut, noteSent, take } from './notices-state.js';

export async function notices(input: NoticesInput): Promise<NoticesStatus> {
  const { link, gatherMs, carried } = input;
  let state = carried ?? NOTHING_WAITS;
  let asked = false;
  const now = (): NoticesStatus => {
    const { waiting, sent, lastSentAt, failing } = state;
    return {
      link,
      waiting: waiting.map(({ news }) => news),
      sent,
      lastSentAt: isoTime(lastSentAt),
      failing: failing && { since: isoTime(failing.since)!, reason: failing.reason },
      nextTry: isoTime(nextDue(state)),
    };
  };
  const show = () => setCurrentDetails(describeNotices(now()));
  setHandler(status, now);
  const onHappened = (news: readonly News[]) => {
    state = take(state, Array.isArray(news) ? news.filter(isNews) : [], gatherMs, Date.now());
    show();
  };
  setHandler(happened, onHappened, { description: 'By a worker: what has happened.' });
  const onRetry = () => {
    asked = true;
  };
  setHandler(retry, onRetry, { description: 'Send now what waits, also to a webhook that has just failed.' });

  await null;
  for (let due = nextDue(state); due !== null; due = nextDue(state)) {
    if (workflowInfo().continueAsNewSuggested) return continueAsNew<typeof notices>({ ...input, carried: state });
    const isDue = () => asked || (nextDue(state) ?? Number.POSITIVE_INFINITY) <= Date.now();
    // An outage that is told of meanwhile does not wait for the escalations to be gathered.
    if (!isDue()) {
      const wakes = () => isDue() || workflowInfo().continueAsNewSuggested;
      await condition(wakes, Math.max(1, due - Date.now()), { summary: summaryOf(state.failing !== null) });
      continue;
    }
    asked = false;
    const made = makeNotice(state, input, workflowInfo().firstExecutionRunId);
    state = made.state;
    const outcome = await sent(made.notice, state.failing?.noWebhookSince);
    if (outcome === 'taken') state = noteSent(state, made.notice, Date.now());
    else if (outcome === 'left-out') state = noteLeftOut(state, made.notice, Date.now());
    else state = noteFailed(state, made.notice, outcome, Date.now());
    show();
  }
  return now();
}

/** @returns or why it was not taken, after some tries */
async function sent(
  notice: Notice,
  noWebhookSince: number | undefined,
): Promise<'taken' | 'left-out' | Pick<ApplicationFailure, 'message' | 'type'>> {
  const what =
    notice.kind === 'outage' ? `outage of ${notice.shard}` : `${notice.keys} escalated: ${inShort(notice.errorType)}`;
  const { sendNotice } = proxyActivities<NoticesActivities>({
    startToCloseTimeout: '1 minute',
    heartbeatTimeout: '10 seconds',
    retry: { initialInterval: '1 second', backoffCoefficient: 2, maximumAttempts: 4 },
    summary: `message: ${what}`.slice(0, LONGEST_SUMMARY),
  });
  try {
    return (await sendNotice(notice, noWebhookSince)) ?? 'taken';
  } catch (failure) {
    if (isCancellation(failure)) throw failure;
    const cause = failure instanceof ActivityFailure ? failure.cause : failure;
    return cause instanceof ApplicationFailure ? cause : { message: 'its worker died or stood still' };
  }
}

const LONGEST_SUMMARY = 150;
const MOST_SHOWN = 5;

function summaryOf(isFailing: boolean): string {
  return isFailing
    ? 'the webhook takes nothing: next try by itself'
    : 'equal escalations are gathered into one message';
}

/** Whoever signals by hand must not stop it. */
function isNews(news: Partial<News> | null | undefined): news is News {
  if (news?.kind === 'outage') return typeof news.shard === 'string' && typeof news.since === 'string';
  return news?.kind === 'escalations' && typeof news.errorType === 'string' && Array.isArray(news.examples);
}

function isoTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

/** Markdown for the Web UI. */
function describeNotices({ link, waiting, sent, lastSentAt, failing, nextTry }: NoticesStatus): string {
  return [
    ...(failing === null
      ? []
      : [
          `**The webhook takes nothing** since ${failing.since}: ${asText(failing.reason)}`,
          '',
          '**Next step:** mend it, then send the signal `retry`. Nothing is lost: what happens is gathered here. Repairs go on.',
          '',
        ]),
    `- link: ${asText(link)}`,
    ...waiting.slice(0, MOST_SHOWN).map((news) => `- to be told: ${asText(describeNews(news))}`),
    ...(waiting.length > MOST_SHOWN ? [`- and ${waiting.length - MOST_SHOWN} more`] : []),
    ...(nextTry === null ? [] : [`- next message: ${nextTry}`]),
    `- messages sent: ${sent}${lastSentAt === null ? '' : `, the last at ${lastSentAt}`}`,
  ].join('\n');
}

function describeNews(news: News): string {
  if (news.kind === 'escalations') return `${news.keys} escalated with ${news.errorType}`;
  return news.until === null
    ? `${news.shard} does not answer since ${news.since}`
    : `${news.shard} answers again since ${news.until}`;
}
