/** What waits to be told, as a plain value: gathered, one message at a time. Pure. */
import {
  type EscalationNews,
  type News,
  NO_WEBHOOK,
  type Notice,
  type NoticesInput,
  type NoticesState,
  type OutageNews,
} from './notices-messages.js';

/** Each error type is one, so only a link whose servers flap has more. */
const MOST_WAITING = 100;
const MOST_EXAMPLES = 5;
const MOST_TOLD = 200;
/** How long a webhook that takes nothing is left alone: longer each time. In ms. */
const PAUSES = { firstMs: 30_000, longestMs: 600_000 };

export const NOTHING_WAITS: NoticesState = {
  waiting: [],
  made: 0,
  sent: 0,
  lastSentAt: null,
  failing: null,
  told: [],
};

/** @param now in ms since the epoch */
export function take(state: NoticesState, news: readonly News[], gatherMs: number, now: number): NoticesState {
  return news.reduce((taken, each) => takeOne(taken, each, gatherMs, now), state);
}

function takeOne(state: NoticesState, news: News, gatherMs: number, now: number): NoticesState {
  if (news.kind === 'outage') {
    const name = outageName(news);
    const isKnown = state.told.includes(name) || state.waiting.some(({ news: each }) => nameOf(each) === name);
    return isKnown ? state : waitingFor(state, { news, dueAt: now });
  }
  const before = state.waiting.find(({ news: each }) => nameOf(each) === nameOf(news));
  if (before === undefined) return waitingFor(state, { news, dueAt: now + gatherMs });
  const merged = { news: mergedNews(before.news as EscalationNews, news), dueAt: before.dueAt };
  return { ...state, waiting: state.waiting.map((each) => (each === before ? merged : each)) };
}

/**
 * The oldest outage makes room: what escalated is what waits for a person. It goes with its end.
 * An end alone is the last to go: what was told of its beginning would stay open elsewhere.
 */
function waitingFor(state: NoticesState, more: NoticesState['waiting'][number]): NoticesState {
  const waiting = [...state.waiting, more];
  if (waiting.length <= MOST_WAITING) return { ...state, waiting };
  const outages = waiting.map(({ news }) => news).filter((news) => news.kind === 'outage');
  const oldest = outages.find(({ until }) => until === null) ?? outages[0];
  if (oldest === undefined) return { ...state, waiting: waiting.slice(1) };
  return { ...state, waiting: waiting.filter(({ news }) => !isOfOutage(news, oldest)) };
}

function isOfOutage(news: News, { shard, since }: OutageNews): boolean {
  return news.kind === 'outage' && news.shard === shard && news.since === since;
}

function mergedNews(one: EscalationNews, other: EscalationNews): EscalationNews {
  const times = [one.firstAt, one.lastAt, other.firstAt, other.lastAt].toSorted();
  return {
    ...one,
    keys: one.keys + other.keys,
    firstAt: times[0]!,
    lastAt: times.at(-1)!,
    examples: [...new Set([...one.examples, ...other.examples])].slice(0, MOST_EXAMPLES),
  };
}

/** When the next message is due, in ms since the epoch; null: nothing waits. */
export function nextDue({ waiting, failing }: NoticesState): number | null {
  if (waiting.length === 0) return null;
  const due = Math.min(...waiting.map(({ dueAt }) => dueAt));
  return failing === null ? due : Math.max(due, failing.nextAt);
}

/**
 * Takes the next message out of what waits: of an outage first, but behind all that was refused
 * less often. One that is never taken must not hold up the others, but for those of the same
 * server: with its end in front of it, what is told of a beginning would stay open elsewhere.
 * @param firstRunId of the workflow
 */
export function makeNotice(
  state: NoticesState,
  { link }: Pick<NoticesInput, 'link'>,
  firstRunId: string,
): { readonly state: NoticesState; readonly notice: Notice } {
  const waiting = firstOfEachServer(state.waiting).toSorted(
    (a, b) => refusals(state, a.news) - refusals(state, b.news) || rank(a.news) - rank(b.news) || a.dueAt - b.dueAt,
  );
  const { news } = waiting[0]!;
  const made = state.made + 1;
  const id = news.kind === 'outage' ? `${link}/${outageName(news)}` : `${firstRunId}/${made}`;
  return {
    state: { ...state, made, waiting: state.waiting.filter((each) => each !== waiting[0]) },
    notice: { ...news, id, link },
  };
}

/** They wait in the order in which they came, also those that come back. */
function firstOfEachServer(waiting: NoticesState['waiting']): NoticesState['waiting'] {
  return waiting.filter(({ news }, index) => {
    const isOlder = ({ news: other }: NoticesState['waiting'][number]) =>
      other.kind === 'outage' && news.kind === 'outage' && other.shard === news.shard;
    return !waiting.slice(0, index).some(isOlder);
  });
}

function refusals({ refused = {} }: NoticesState, news: News): number {
  return refused[nameOf(news)] ?? 0;
}

function rank({ kind }: News): number {
  return kind === 'outage' ? 0 : 1;
}

export function noteSent(state: NoticesState, notice: Notice, now: number): NoticesState {
  const told = notice.kind === 'outage' ? [...state.told, outageName(notice)].slice(-MOST_TOLD) : state.told;
  const { [nameOf(notice)]: _taken, ...refused } = state.refused ?? {};
  return { ...state, sent: state.sent + 1, lastSentAt: now, failing: null, told, refused };
}

/** The link has no webhook any more: what waits behind it is not kept waiting for one once more. */
export function noteLeftOut(state: NoticesState, notice: Notice, now: number): NoticesState {
  const { sent, lastSentAt, failing } = state;
  return { ...noteSent(state, notice, now), sent, lastSentAt, failing: failing && { ...failing, nextAt: now } };
}

/**
 * What was not taken waits again, together with what has come meanwhile; all of it is due then.
 * @param type of the error
 */
export function noteFailed(
  state: NoticesState,
  notice: Notice,
  { message: reason, type }: { readonly message: string; readonly type?: string | undefined | null },
  now: number,
): NoticesState {
  const { id: _id, link: _link, ...news } = notice;
  const { since = now, tries = 0 } = state.failing ?? {};
  const pause = Math.min(PAUSES.firstMs * 2 ** Math.min(tries, 10), PAUSES.longestMs);
  const again = { ...state, waiting: [] };
  const all = [news as News, ...state.waiting.map((each) => each.news)];
  const refused = { ...state.refused, [nameOf(notice)]: refusals(state, notice) + 1 };
  const noWebhookSince = type === NO_WEBHOOK ? (state.failing?.noWebhookSince ?? now) : undefined;
  const failing = { since, reason, tries: tries + 1, nextAt: now + pause, noWebhookSince };
  return { ...take(again, all, 0, now), refused, failing };
}

/** By which the same is known again. */
function nameOf(news: News): string {
  return news.kind === 'outage' ? outageName(news) : `escalations/${news.errorType}`;
}

function outageName({ shard, since, until }: OutageNews): string {
  return `outage/${shard}/${since}/${until === null ? 'begin' : 'end'}`;
}
