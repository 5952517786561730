/**
 * An event for PagerDuty, Events API v2. Equal escalations of a link are one incident, an outage is
 * another.
 */
import type { Notice } from '../../../workflows/notices-messages.js';
import { adviceOf, commandsOf, queryOf, timesOf, titleOf } from '../wording.js';

/** @param routingKey the integration key of the service */
export function asPagerDuty(notice: Notice, routingKey: string): object {
  const common = { routing_key: routingKey, dedup_key: dedupKey(notice) };
  if (notice.kind === 'outage' && notice.until !== null) return { ...common, event_action: 'resolve' };
  const { id: _id, link, kind, ...more } = notice;
  return {
    ...common,
    event_action: 'trigger',
    client: 'keymend',
    payload: {
      summary: titleOf(notice).slice(0, LONGEST_SUMMARY),
      source: `keymend link ${link}`,
      severity: kind === 'outage' ? 'warning' : 'error',
      timestamp: timesOf(notice).from,
      component: link,
      group: 'keymend',
      class: notice.kind === 'outage' ? 'outage' : notice.errorType,
      custom_details: { ...more, nextStep: adviceOf(notice), commands: commandsOf(notice), query: queryOf(notice) },
    },
  };
}

const LONGEST_SUMMARY = 1_024;
const LONGEST_KEY = 255;

function dedupKey(notice: Notice): string {
  const what = notice.kind === 'outage' ? `outage/${notice.shard}/${notice.since}` : `escalations/${notice.errorType}`;
  return `keymend/${notice.link}/${what}`.slice(0, LONGEST_KEY);
}
