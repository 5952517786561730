/** What waits to be told, as a plain value. */
import { describe, expect, it } from 'vitest';
import type { EscalationNews, News, NoticesState, OutageNews } from '../../workflows/notices-messages.js';
import {
  makeNotice,
  NOTHING_WAITS,
  nextDue,
  noteFailed,
  noteLeftOut,
  noteSent,
  take,
} from '../../workflows/notices-state.js';

const MINUTE = 60_000;
const AT = '2026-11-20T23:00:00.000Z';

const escalated = (errorType: string, changes: Partial<EscalationNews> = {}): EscalationNews => ({
  kind: 'escalations',
  errorType,
  keys: 1,
  firstAt: AT,
  lastAt: AT,
  examples: ['k'],
  ...changes,
});
const out = (changes: Partial<OutageNews> = {}): OutageNews => ({
  kind: 'outage',
  shard: '10.0.0.1:6379',
  since: AT,
  reason: 'no answer',
  until: null,
  keysWaiting: 1,
  ...changes,
});

const took = (news: readonly News[], state: NoticesState = NOTHING_WAITS, now = 0) => take(state, news, MINUTE, now);
const made = (state: NoticesState) => makeNotice(state, { link: 'l' }, 'run');
const waiting = (state: NoticesState) => state.waiting.map(({ news }) => news);

describe('equal escalations', () => {
  it('are one message a minute behind the first, with how many, when, and a few of the keys', () => {
    const later = escalated('A', {
      keys: 99,
      lastAt: '2026-11-20T23:00:30.000Z',
      examples: ['b', 'c', 'd', 'e', 'f', 'k'],
    });
    const state = took([later], took([escalated('A')]), 30_000);
    expect(nextDue(state)).toBe(MINUTE);
    expect(made(state).notice).toEqual({
      ...escalated('A', { keys: 100, lastAt: later.lastAt, examples: ['k', 'b', 'c', 'd', 'e'] }),
      id: 'run/1',
      link: 'l',
    });
  });

  it('of another error are another message', () => {
    const first = made(took([escalated('A'), escalated('B'), escalated('A')]));
    const second = made(first.state);
    expect([first, second].map(({ notice }) => [notice.id, 'keys' in notice && notice.keys])).toEqual([
      ['run/1', 2],
      ['run/2', 1],
    ]);
    expect(nextDue(second.state)).toBeNull();
  });
});

describe('an outage', () => {
  it('is due at once and before what is gathered; its beginning is one message, and its end another', () => {
    let state = took([out()], took([escalated('A')]), 5);
    expect(nextDue(state)).toBe(5);
    state = took([out({ keysWaiting: 9 }), out({ until: '2026-11-20T23:01:00.000Z' })], state, 6);
    const begin = made(state);
    const end = made(begin.state);
    expect([begin.notice, end.notice].map(({ id }) => id)).toEqual([
      `l/outage/10.0.0.1:6379/${AT}/begin`,
      `l/outage/10.0.0.1:6379/${AT}/end`,
    ]);
    const told = noteSent(begin.state, begin.notice, 7);
    expect(waiting(took([out()], told, 8))).toEqual(waiting(told));
  });
});

describe('a message that is not taken', () => {
  it('waits again, together with what has come meanwhile, and longer each time', () => {
    const { state, notice } = made(took([escalated('A', { keys: 5 })]));
    const grown = took([escalated('A', { keys: 2 }), escalated('B')], state, 10);
    const failed = noteFailed(grown, notice, { message: 'answers 500' }, 1_000);
    expect(waiting(failed)).toMatchObject([
      { errorType: 'A', keys: 7 },
      { errorType: 'B', keys: 1 },
    ]);
    expect(nextDue(failed)).toBe(31_000);
    const again = made(failed);
    const failedAgain = noteFailed(again.state, again.notice, { message: 'answers 500' }, 40_000);
    expect(failedAgain.failing).toMatchObject({ since: 1_000, tries: 2 });
    expect(nextDue(failedAgain)).toBe(100_000);
    const sent = made(failedAgain);
    expect(noteSent(sent.state, sent.notice, 101_000)).toMatchObject({ sent: 1, failing: null });
  });

  it('is known to have no webhook since the first worker that had none, until one has', () => {
    const { state, notice } = made(took([escalated('A')]));
    const none = { message: 'none', type: 'NoWebhook' };
    const failed = noteFailed(noteFailed(state, notice, none, 1), notice, none, 9);
    expect(failed.failing).toMatchObject({ noWebhookSince: 1, tries: 2 });
    const refused = noteFailed(failed, notice, { message: 'answers 500', type: 'WebhookFailed' }, 20);
    expect(refused.failing).toMatchObject({ since: 1, noWebhookSince: undefined });
  });

  it('is left out with all behind it, once the webhook is known to be removed', () => {
    const { state, notice } = made(took([escalated('A'), escalated('B')]));
    const failed = noteFailed(state, notice, { message: 'none', type: 'NoWebhook' }, 1);
    const first = made(failed);
    const left = noteLeftOut(first.state, first.notice, 700_000);
    expect(left).toMatchObject({ sent: 0, failing: { noWebhookSince: 1 } });
    expect(nextDue(left)).toBe(700_000);
    const last = made(left);
    expect(nextDue(noteLeftOut(last.state, last.notice, 700_001))).toBe(null);
  });

  it('waits behind the others, for it may never be taken', () => {
    const { state, notice } = made(took([out(), escalated('A')]));
    const failed = noteFailed(state, notice, { message: 'answers 400' }, 0);
    const next = made(failed);
    expect(next.notice).toMatchObject({ errorType: 'A' });
    const again = made(noteSent(next.state, next.notice, 40_000));
    expect(again.notice).toMatchObject({ kind: 'outage' });
    const later = took(
      [escalated('B')],
      noteFailed(again.state, again.notice, { message: 'answers 400' }, 50_000),
      60_000,
    );
    expect(made(later).notice).toMatchObject({ errorType: 'B' });
  });

  it('goes out in front of what comes behind it of the same server, however often it was refused', () => {
    const { state, notice } = made(took([out()]));
    const end = out({ until: '2026-11-20T23:01:00.000Z' });
    const again = out({ since: '2026-11-20T23:02:00.000Z' });
    let failed = noteFailed(
      took([end, again, out({ shard: 'other' })], state, 5),
      notice,
      { message: 'answers 500' },
      10,
    );
    const sent = [];
    while (failed.waiting.length > 0) {
      const next = made(failed);
      sent.push(next.notice);
      failed = noteSent(next.state, next.notice, 40_000);
    }
    expect(sent).toMatchObject([{ shard: 'other' }, { since: AT, until: null }, end, again]);
  });

  it('makes room for others with its whole outage, and the end of one that was told stays', () => {
    const begun = made(took([out({ shard: 'told' })]));
    const told = noteSent(begun.state, begun.notice, 0);
    const until = '2026-11-20T23:01:00.000Z';
    const many = Array.from({ length: 99 }, (_, n) => out({ shard: `s${n}` }));
    const state = took([out({ shard: 'told', until }), ...many, out({ shard: 's0', until })], told);
    expect(waiting(state)).toHaveLength(99);
    expect(waiting(state)[0]).toMatchObject({ shard: 'told', until });
    expect(waiting(state)).not.toContainEqual(expect.objectContaining({ shard: 's0' }));
  });

  it('holds no more than a hundred others, of which escalations are the last to go', () => {
    const many = Array.from({ length: 300 }, (_, n) => out({ shard: `s${n}` }));
    const state = took([escalated('A'), ...many]);
    expect(state.waiting).toHaveLength(100);
    expect(waiting(state)[0]).toMatchObject({ errorType: 'A' });
    expect(waiting(state).at(-1)).toMatchObject({ shard: 's299' });
  });
});
