/** Alerts for Prometheus' Alertmanager, POST /api/v2/alerts. */
import type { Notice } from '../../../workflows/notices-messages.js';
import { adviceOf, commandsOf, queryOf, timesOf, titleOf } from '../wording.js';

/**
 * An alert without an end is over for Alertmanager after five minutes. Escalated keys wait for a
 * person: a message stays so long, and the next one prolongs it. In ms.
 */
const STAYS_MS = 3_600_000;
/** An outage has an end, which is told; should that message be lost, it does not stay for ever. */
const OUTAGE_STAYS_MS = 24 * 3_600_000;

/** @param now when it is sent, in ms since the epoch: it may have waited for a night */
export function asAlerts(notice: Notice, now: number): readonly object[] {
  const { from, to } = timesOf(notice);
  const of =
    notice.kind === 'outage'
      ? { alertname: 'KeymendOutage', shard: notice.shard, severity: 'warning' }
      : { alertname: 'KeymendEscalated', error: notice.errorType, severity: 'error' };
  const isOver = notice.kind === 'outage' && notice.until !== null;
  const stays = notice.kind === 'outage' ? OUTAGE_STAYS_MS : STAYS_MS;
  const advice = adviceOf(notice);
  const query = queryOf(notice);
  return [
    {
      labels: { ...of, link: notice.link },
      annotations: {
        summary: titleOf(notice),
        ...(advice !== null && { description: advice }),
        ...(notice.kind === 'escalations' && { keys: String(notice.keys), examples: notice.examples.join(', ') }),
        ...(notice.kind === 'outage' && { reason: notice.reason, keysWaiting: String(notice.keysWaiting) }),
        commands: commandsOf(notice).join('\n'),
        ...(query !== null && { query }),
      },
      startsAt: from,
      // Two clocks: an end before the beginning is refused.
      endsAt: isOver ? latest(from, to) : new Date(Math.max(now, Date.parse(to)) + stays).toISOString(),
    },
  ];
}

function latest(...times: string[]): string {
  return new Date(Math.max(...times.map((time) => Date.parse(time)))).toISOString();
}
