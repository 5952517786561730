/** The report of a sweep as one page that needs nothing else. */
import type { SweepReport } from './report.js';
import { byKind, byPrefix, NAMES, overTime } from './report-charts.js';
import { differencesIn } from './tally.js';

const OUTCOMES = { equal: 'Equal', divergent: 'Divergent', incomplete: 'Incomplete' } as const;

/** @param visible makes of a key what can be shown */
export function htmlReport(report: SweepReport, visible: (text: string) => string): string {
  const text = (value: string | number) => escapeHtml(visible(`${value}`));
  const { link, outcome, listed, reasons, options } = report;
  const row = (cells: readonly string[]) => `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
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
    ...(asked.length === 0 ? [] : [['asked for', asked.join(', ')] as [string, string]]),
    ...reasons.map((reason): [string, string] => ['because', reason]),
  ];
  const keys = listed.map(({ key, encoding, difference, foundAt = '', batch, healedAt }) =>
    row([
      `<code>${text(key)}</code>${encoding === 'base64' ? ' (base64)' : ''}`,
      NAMES[difference],
      `found ${text(foundAt)}`,
      healedAt === undefined ? (batch === undefined ? '' : 'handed over') : `healed ${text(healedAt)}`,
    ]),
  );
  const unlisted = differencesIn(report) - listed.length;
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Sweep of ${text(link)}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
td{padding:.15em 1em .15em 0;vertical-align:top;overflow-wrap:anywhere}code{white-space:pre-wrap}</style>
<h1>${OUTCOMES[outcome]}: link ${text(link)}</h1>
${byKind(report)}
<table>${facts.map(([name, value]) => row([name, text(value)])).join('\n')}</table>
${section('When', overTime(report))}
${section('Where they are', byPrefix(report, text))}
${section('Keys', keys.length === 0 ? '' : `<table>${keys.join('\n')}</table>`)}
${unlisted > 0 ? `<p>and ${unlisted} more</p>` : ''}
</html>
`;
}

function section(title: string, content: string): string {
  return content === '' ? '' : `<h2>${title}</h2>\n${content}`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
