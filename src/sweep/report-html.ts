/** The report of a sweep as one page that needs nothing else. */
import { escapeHtml, htmlPage, tableRow } from '../html-page.js';
import { describeConsistency } from './ageing.js';
import type { SweepReport } from './report.js';
import { byKind, byPrefix, NAMES, overTime } from './report-charts.js';
import { differencesIn, unlistedIn } from './tally.js';

const OUTCOMES = { equal: 'Equal', divergent: 'Divergent', incomplete: 'Incomplete' } as const;

/** @param visible makes of a key what can be shown */
export function htmlReport(report: SweepReport, visible: (text: string) => string): string {
  const text = (value: string | number) => escapeHtml(visible(`${value}`));
  const { link, outcome, listed, reasons, options } = report;
  const asked = Object.entries(options).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
  const facts: [string, string | number][] = [
    ['keys compared', report.compared],
    ['keys that differ', differencesIn(report)],
    ['handed over to batches', report.handedOver],
    ['of these healed', report.repaired],
    ['of these on by themselves', report.unhealed],
    ['changed at each look', report.unsettled],
    ['not compared, or not repaired', report.failed],
    ['keys of the target alone', report.targetOnly],
    ['began', report.startedAt],
    ['ended', report.finishedAt],
    ...(report.readFrom === undefined
      ? []
      : [
          ['read from', `${report.readFrom.replicas} replicas, ${report.readFrom.masters} masters without one`] as [
            string,
            string,
          ],
        ]),
    ...(report.atMost === undefined
      ? []
      : [['differs at most, at 95 %', `${(100 * report.atMost).toFixed(3)} %`] as [string, string]]),
    ...describeConsistency(report.consistent).map((line): [string, string] => ['as their rows', line]),
    ...(asked.length === 0 ? [] : [['asked for', asked.join(', ')] as [string, string]]),
    ...reasons.map((reason): [string, string] => ['because', reason]),
  ];
  const keys = listed.map(({ key, encoding, difference, foundAt = '', batch, healedAt }) =>
    tableRow([
      `<code>${text(key)}</code>${encoding === 'base64' ? ' (base64)' : ''}`,
      NAMES[difference],
      `found ${text(foundAt)}`,
      healedAt === undefined ? (batch === undefined ? '' : 'handed over') : `healed ${text(healedAt)}`,
    ]),
  );
  const unlisted = unlistedIn(report);
  const body = `${byKind(report)}
<table>${facts.map(([name, value]) => tableRow([name, text(value)])).join('\n')}</table>
${section('When', overTime(report))}
${section('Where they are', byPrefix(report, text))}
${section('Keys', keys.length === 0 ? '' : `<table>${keys.join('\n')}</table>`)}
${unlisted > 0 ? `<p>and ${unlisted} more</p>` : ''}`;
  return htmlPage({ title: `Sweep of ${text(link)}`, heading: `${OUTCOMES[outcome]}: link ${text(link)}`, body });
}

function section(title: string, content: string): string {
  return content === '' ? '' : `<h2>${title}</h2>\n${content}`;
}
