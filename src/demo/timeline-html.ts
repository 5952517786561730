/** The timeline of the demo as one page: what the link did, and what became of the keys. */
import { escapeHtml, htmlPage, tableRow, tableSection } from '../html-page.js';
import { type DemoResult, factsOf, problemOf, verdictOf } from './result.js';
import type { Sample, Since, TimelineRecord } from './timeline.js';

const [WIDTH, LEFT, CHART, GAP] = [860, 60, 110, 34];
const PLOT = WIDTH - LEFT - 10;
const BAND = 24;

/** The worst a link can do is the darkest. */
const COLORS: Readonly<Record<string, string>> = {
  healthy: '#27ae60',
  restored: '#27ae60',
  slow: '#f1c40f',
  'half-open': '#e67e22',
  resetting: '#d35400',
  cut: '#c0392b',
  'cut, from Kafka too': '#7b241c',
};
const OTHER = '#95a5a6';

const CHARTS: readonly { readonly name: string; readonly color: string; readonly of: (sample: Sample) => number }[] = [
  { name: 'failed writes, so far', color: '#8e44ad', of: ({ failedWrites }) => failedWrites },
  { name: 'keys that differ', color: '#c0392b', of: ({ diverged }) => diverged },
  { name: 'keys equal again, so far', color: '#27ae60', of: ({ healed }) => healed },
];

/** @param visible makes of a key what can be shown */
export function timelinePage(timeline: TimelineRecord, result: DemoResult, visible: (text: string) => string): string {
  const text = (value: string) => escapeHtml(visible(value));
  const body = `${picture(timeline)}
<p>${legend(timeline.links)}</p>
<table>${factsOf(result)
    .map(([name, value]) => tableRow([text(name), text(value)]))
    .join('\n')}</table>
${tableSection(
  'Changed by hand, and found by the sweep',
  result.sweep.listed.map(({ key, difference }) => tableRow([`<code>${text(key)}</code>`, text(difference)])),
)}
<p>Began at ${timeline.beganAt.toISOString()}.</p>`;
  return htmlPage({ title: 'keymend: the demo', heading: text(problemOf(result) ?? verdictOf(result)), body });
}

/** The states of the link, and below it one chart for each number, on one axis of time. */
function picture({ links, acts, samples, endedAt }: TimelineRecord): string {
  const x = (at: number) => LEFT + (at / Math.max(1, endedAt)) * PLOT;
  const height = BAND + 40 + CHARTS.length * (CHART + GAP);
  const until = (states: readonly Since[], index: number) => states[index + 1]?.at ?? endedAt;
  const band = links.map(({ name, at }, index) => {
    const width = x(until(links, index)) - x(at);
    const seconds = ((until(links, index) - at) / 1000).toFixed(1);
    return `<rect x="${round(x(at))}" y="20" width="${round(width)}" height="${BAND}" fill="${COLORS[name] ?? OTHER}"><title>link ${escapeHtml(name)}, ${seconds} s</title></rect>`;
  });
  const marks = acts.map(
    ({ name, at }) =>
      `<line x1="${round(x(at))}" x2="${round(x(at))}" y1="16" y2="${height - 18}" stroke="#bbb" stroke-dasharray="3 3"/>` +
      `<text x="${round(x(at)) + 3}" y="13" font-size="12">${escapeHtml(name)}</text>`,
  );
  const charts = CHARTS.map((chart, index) => {
    const top = 20 + BAND + GAP + index * (CHART + GAP);
    return drawn(chart, samples, top, x);
  });
  const seconds = (endedAt / 1000).toFixed(0);
  return (
    `<svg viewBox="0 0 ${WIDTH} ${height}" width="100%" role="img" font-size="13" font-family="inherit">` +
    `<title>The link, failed writes, keys that differ and keys equal again, over ${seconds} seconds</title>` +
    `<text x="0" y="${20 + BAND / 2 + 5}">link</text>${band.join('')}${marks.join('')}${charts.join('')}` +
    `<text x="${LEFT}" y="${height - 4}" fill="#666">0 s</text>` +
    `<text x="${WIDTH - 10}" y="${height - 4}" fill="#666" text-anchor="end">${seconds} s</text></svg>`
  );
}

function drawn(
  { name, color, of }: (typeof CHARTS)[number],
  samples: readonly Sample[],
  top: number,
  x: (at: number) => number,
): string {
  const most = Math.max(1, ...samples.map(of));
  const y = (value: number) => round(top + CHART - (value / most) * CHART);
  const line = samples.map((sample) => `${round(x(sample.at))},${y(of(sample))}`).join(' ');
  const base = top + CHART;
  return (
    `<text x="${LEFT}" y="${top - 6}">${name}</text>` +
    `<text x="${LEFT - 6}" y="${top + 10}" text-anchor="end" fill="#666">${most}</text>` +
    `<text x="${LEFT - 6}" y="${base}" text-anchor="end" fill="#666">0</text>` +
    `<line x1="${LEFT}" x2="${LEFT + PLOT}" y1="${base}" y2="${base}" stroke="#ccc"/>` +
    `<polyline points="${line}" fill="none" stroke="${color}" stroke-width="2"/>`
  );
}

function legend(links: readonly Since[]): string {
  const names = [...new Set(links.map(({ name }) => name))];
  return names
    .map((name) => `<span style="color:${COLORS[name] ?? OTHER}">&#9632;</span> link ${escapeHtml(name)}`)
    .join(' &nbsp; ');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
