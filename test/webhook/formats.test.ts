/** What each format says, to the letter. */
import { describe, expect, it } from 'vitest';
import { asAlerts } from '../../src/webhook/formats/alertmanager.js';
import { asJson } from '../../src/webhook/formats/json.js';
import { asPagerDuty } from '../../src/webhook/formats/pagerduty.js';
import { asSlack } from '../../src/webhook/formats/slack.js';
import type { Notice } from '../../workflows/notices-messages.js';

const ESCALATED: Notice = {
  kind: 'escalations',
  id: 'run/1',
  link: 'east-to-west',
  errorType: 'TargetReadOnly',
  keys: 1_200,
  firstAt: '2026-11-20T23:00:00.000Z',
  lastAt: '2026-11-20T23:00:59.000Z',
  examples: ['user:42', '<b>`&'],
};
const OUT: Notice = {
  kind: 'outage',
  id: 'east-to-west/outage/10.0.0.1:6379/2026-11-20T23:00:00.000Z/begin',
  link: 'east-to-west',
  shard: '10.0.0.1:6379',
  since: '2026-11-20T23:00:00.000Z',
  reason: 'no answer in 2000 ms',
  until: null,
  keysWaiting: 7,
};
const BACK: Notice = { ...OUT, until: '2026-11-20T23:10:00.000Z' };

const READ_ONLY =
  'The target refuses writes: it is a replica, or has too few of its own. Point the link at the master, or wait for the failover to end.';
const COMMANDS = ['npx keymend escalations --link east-to-west', 'npx keymend retry --escalated --link east-to-west'];
const QUERY = 'KeymendState = "escalated" AND KeymendError = "TargetReadOnly" AND KeymendLink = "east-to-west"';
const AWAY = 'See why this server is away. Its keys wait, none of them fails, and they go on when it answers.';

describe('json', () => {
  it('of keys that escalated', () => {
    expect(asJson(ESCALATED)).toEqual({
      specVersion: 1,
      id: 'run/1',
      kind: 'escalations',
      link: 'east-to-west',
      title: 'keymend: 1200 keys of link east-to-west escalated: TargetReadOnly',
      errorType: 'TargetReadOnly',
      keys: 1_200,
      firstAt: '2026-11-20T23:00:00.000Z',
      lastAt: '2026-11-20T23:00:59.000Z',
      examples: ['user:42', '<b>`&'],
      nextStep: READ_ONLY,
      commands: COMMANDS,
      query: QUERY,
    });
  });

  it('of an outage that is over', () => {
    expect(asJson(BACK)).toEqual({
      specVersion: 1,
      id: OUT.id,
      kind: 'outage',
      link: 'east-to-west',
      title: 'keymend: 10.0.0.1:6379 of link east-to-west answers again',
      shard: '10.0.0.1:6379',
      since: '2026-11-20T23:00:00.000Z',
      reason: 'no answer in 2000 ms',
      until: '2026-11-20T23:10:00.000Z',
      keysWaiting: 7,
      nextStep: null,
      commands: ['npx keymend status'],
      query: null,
    });
  });
});

describe('slack', () => {
  it('of keys that escalated, in which no key is markup', () => {
    const title = 'keymend: 1200 keys of link east-to-west escalated: TargetReadOnly';
    const text = [
      `*${title}*`,
      'from 2026-11-20T23:00:00.000Z to 2026-11-20T23:00:59.000Z',
      "Keys, for example: `user:42`, `&lt;b&gt;'&amp;`",
      `*Next step:* ${READ_ONLY}`,
      ...COMMANDS.map((command) => `\`${command}\``),
    ].join('\n');
    expect(asSlack(ESCALATED)).toEqual({ text: title, blocks: [{ type: 'section', text: { type: 'mrkdwn', text } }] });
  });

  it('of an outage', () => {
    const title = 'keymend: 10.0.0.1:6379 of link east-to-west does not answer';
    const text = [
      `*${title}*`,
      'at 2026-11-20T23:00:00.000Z',
      'Keys that wait, about: 7. no answer in 2000 ms',
      `*Next step:* ${AWAY}`,
      '`npx keymend status`',
    ].join('\n');
    expect(asSlack(OUT)).toEqual({ text: title, blocks: [{ type: 'section', text: { type: 'mrkdwn', text } }] });
  });
});

describe('pagerduty', () => {
  it('of keys that escalated: one incident for each link and error', () => {
    expect(asPagerDuty(ESCALATED, 'key')).toEqual({
      routing_key: 'key',
      dedup_key: 'keymend/east-to-west/escalations/TargetReadOnly',
      event_action: 'trigger',
      client: 'keymend',
      payload: {
        summary: 'keymend: 1200 keys of link east-to-west escalated: TargetReadOnly',
        source: 'keymend link east-to-west',
        severity: 'error',
        timestamp: '2026-11-20T23:00:00.000Z',
        component: 'east-to-west',
        group: 'keymend',
        class: 'TargetReadOnly',
        custom_details: {
          errorType: 'TargetReadOnly',
          keys: 1_200,
          firstAt: '2026-11-20T23:00:00.000Z',
          lastAt: '2026-11-20T23:00:59.000Z',
          examples: ['user:42', '<b>`&'],
          nextStep: READ_ONLY,
          commands: COMMANDS,
          query: QUERY,
        },
      },
    });
  });

  it('of an outage: its end resolves the incident of its beginning', () => {
    const begin = asPagerDuty(OUT, 'key') as { dedup_key: string };
    expect(begin).toMatchObject({ event_action: 'trigger', payload: { severity: 'warning', class: 'outage' } });
    expect(asPagerDuty(BACK, 'key')).toEqual({
      routing_key: 'key',
      dedup_key: begin.dedup_key,
      event_action: 'resolve',
    });
  });
});

describe('alertmanager', () => {
  it('of keys that escalated: an alert that stays for an hour behind the message', () => {
    expect(asAlerts(ESCALATED, Date.parse('2026-11-20T23:01:00.000Z'))).toEqual([
      {
        labels: { alertname: 'KeymendEscalated', error: 'TargetReadOnly', severity: 'error', link: 'east-to-west' },
        annotations: {
          summary: 'keymend: 1200 keys of link east-to-west escalated: TargetReadOnly',
          description: READ_ONLY,
          keys: '1200',
          examples: 'user:42, <b>`&',
          commands: COMMANDS.join('\n'),
          query: QUERY,
        },
        startsAt: '2026-11-20T23:00:00.000Z',
        endsAt: '2026-11-21T00:01:00.000Z',
      },
    ]);
  });

  it('of an outage: the end has the labels of the beginning', () => {
    const labels = { alertname: 'KeymendOutage', shard: '10.0.0.1:6379', severity: 'warning', link: 'east-to-west' };
    expect(asAlerts(OUT, Date.parse(OUT.since))).toMatchObject([
      { labels, startsAt: OUT.since, endsAt: '2026-11-21T23:00:00.000Z' },
    ]);
    expect(asAlerts(BACK, Date.parse(OUT.since))).toEqual([
      {
        labels,
        annotations: {
          summary: 'keymend: 10.0.0.1:6379 of link east-to-west answers again',
          reason: 'no answer in 2000 ms',
          keysWaiting: '7',
          commands: 'npx keymend status',
        },
        startsAt: OUT.since,
        endsAt: '2026-11-20T23:10:00.000Z',
      },
    ]);
  });

  it('that has waited for a night is no alert that is over already', () => {
    const [alert] = asAlerts(ESCALATED, Date.parse('2026-11-21T08:00:00.000Z')) as [{ endsAt: string }];
    expect(alert.endsAt).toBe('2026-11-21T09:00:00.000Z');
  });

  it('of an outage that by another clock ended before it began ends when it began', () => {
    const over = { ...BACK, until: '2026-11-20T22:59:59.000Z' } as Notice;
    expect(asAlerts(over, Date.parse(OUT.since))).toMatchObject([{ startsAt: OUT.since, endsAt: OUT.since }]);
  });
});
