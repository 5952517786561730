/** The report of a sweep as one page that needs nothing else. */
import { DIFFERENCES, type DifferenceKind } from '../../workflows/sweep-messages.js';
import { countDifferences, type SweepReport } from './report.js';

const NAMES: Readonly<Record<DifferenceKind, string>> = {
  missing: 'missing on the target',
  extra: 'on the target alone',
  type: 'other type',
  value: 'other value',
  expiry: 'other expiry',
};
const COLORS: Readonly<Record<DifferenceKind, string>> = {
  missing: '#c0392b',
  extra: '#8e44ad',
  type: '#d35400',
  value: '#e67e22',
  expiry: '#2980b9',
};
const OUTCOMES = { equal: 'Equal', divergent: 'Divergent', incomplete: 'Incomplete' } as const;

/** @param visible makes of a key what can be shown */
export function htmlReport(report: SweepReport, visible: (text: string) => string): string {
  const text = (value: string | number) => escapeHtml(visible(`${value}`));
  const { link, outcome, listed, prefixes, reasons, options } = report;
  const row = (cells: readonly string[]) => `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
  const asked = Object.entries(options).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
  const facts: [string, string | number][] = [
    ['keys compared', report.compared],
    ['keys that differ', countDifferences(report)],
    ['repaired', report.repaired],
    ['changed at each look', report.unsettled],
    ['not compared, or not repaired', report.failed],
    ['keys of the target alone', report.targetOnly],
    ['began', report.startedAt],
    ['ended', report.finishedAt],
    ...(report.atMost === undefined
      ? []
      : [['differs at most, at 95 %', `${(100 * report.atMost).toFixed(3)} %`] as [string, string]]),
    ...(asked.length === 0 ? [] : [['asked for', asked.join(', ')] as [string, string]]),
    ...reasons.map((reason): [string, string] => ['because', reason]),
  ];
  const keys = listed.map(({ key, encoding, difference, repaired }) =>
    row([
      `<code>${text(key)}</code>${encoding === 'base64' ? ' (base64)' : ''}`,
      `${NAMES[difference]}${repaired ? ', repaired' : ''}`,
    ]),
  );
  const unlisted = countDifferences(report) - listed.length;
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Sweep of ${text(link)}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
td{padding:.15em 1em .15em 0;vertical-align:top;overflow-wrap:anywhere}code{white-space:pre-wrap}</style>
<h1>${OUTCOMES[outcome]}: link ${text(link)}</h1>
${picture(report)}
<table>${facts.map(([name, value]) => row([name, text(value)])).join('\n')}</table>
${section(
  'Where they are',
  prefixes.map(({ prefix, keys }) => row([`<code>${text(prefix === '' ? '(no prefix)' : prefix)}</code>`, `${keys}`])),
)}
${section('Keys', keys)}
${unlisted > 0 ? `<p>and ${unlisted} more</p>` : ''}
</html>
`;
}

function section(title: string, rows: readonly string[]): string {
  return rows.length === 0 ? '' : `<h2>${title}</h2>\n<table>${rows.join('\n')}</table>`;
}

const [WIDTH, BAR_HEIGHT, LABELS] = [720, 22, 190];

/** A bar for each kind; the longest has the whole width. */
function picture({ differing, compared }: SweepReport): string {
  const most = Math.max(1, ...DIFFERENCES.map((kind) => differing[kind]));
  const bars = DIFFERENCES.map((kind, index) => {
    const count = differing[kind];
    const width = Math.round((count / most) * (WIDTH - LABELS - 90));
    const y = index * (BAR_HEIGHT + 6);
    return (
      `<text x="0" y="${y + 16}">${NAMES[kind]}</text>` +
      `<rect x="${LABELS}" y="${y}" width="${Math.max(width, count > 0 ? 2 : 0)}" height="${BAR_HEIGHT}" fill="${COLORS[kind]}"/>` +
      `<text x="${LABELS + width + 8}" y="${y + 16}">${count}</text>`
    );
  });
  const height = DIFFERENCES.length * (BAR_HEIGHT + 6);
  return (
    `<svg viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" role="img" font-size="14" font-family="inherit">` +
    `<title>Differences of ${compared} keys by kind</title>${bars.join('')}</svg>`
  );
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
