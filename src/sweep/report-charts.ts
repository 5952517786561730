/** The pictures of a report, as SVG: they need nothing else, and say their numbers as text, too. */
import { DIFFERENCES, type DifferenceKind, type Timeline } from '../../workflows/sweep-messages.js';
import type { SweepReport } from './report.js';

/** What a person calls each kind. */
export const NAMES: Readonly<Record<DifferenceKind, string>> = {
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
const [FOUND, HEALED] = ['#c0392b', '#27ae60'];

const [WIDTH, LINE, BAR_HEIGHT, LABELS, NUMBERS] = [720, 28, 22, 190, 90];

interface Bar {
  /** Escaped already. */
  readonly label: string;
  readonly counts: Partial<Readonly<Record<DifferenceKind, number>>>;
}

/** A bar for each kind; the longest has the whole width. */
export function byKind({ differing, compared }: SweepReport): string {
  const bars = DIFFERENCES.map((kind) => ({ label: NAMES[kind], counts: { [kind]: differing[kind] } }));
  return barChart(`Differences of ${compared} keys by kind`, bars);
}

/** A bar for each prefix, of its kinds one behind the other. */
export function byPrefix({ prefixes }: SweepReport, text: (value: string) => string): string {
  const bars = prefixes.map(({ prefix, differing }) => ({ label: text(shortened(prefix)), counts: differing }));
  return bars.length === 0 ? '' : barChart('Differences by what keys begin with', bars);
}

const MOST_CHARACTERS = 26;

function shortened(prefix: string): string {
  if (prefix === '') return '(no prefix)';
  return prefix.length <= MOST_CHARACTERS ? prefix : `${prefix.slice(0, MOST_CHARACTERS)}…`;
}

function barChart(title: string, bars: readonly Bar[]): string {
  const sum = ({ counts }: Bar) => DIFFERENCES.reduce((total, kind) => total + (counts[kind] ?? 0), 0);
  const most = Math.max(1, ...bars.map(sum));
  const rows = bars.map((bar, index) => {
    const y = index * LINE;
    let x = LABELS;
    const parts = DIFFERENCES.map((kind) => {
      const count = bar.counts[kind] ?? 0;
      if (count === 0) return '';
      const width = Math.max(2, Math.round((count / most) * (WIDTH - LABELS - NUMBERS)));
      const rect =
        `<rect x="${x}" y="${y}" width="${width}" height="${BAR_HEIGHT}" fill="${COLORS[kind]}">` +
        `<title>${NAMES[kind]}: ${count}</title></rect>`;
      x += width;
      return rect;
    });
    return `<text x="0" y="${y + 16}">${bar.label}</text>${parts.join('')}<text x="${x + 8}" y="${y + 16}">${sum(bar)}</text>`;
  });
  return svg(title, bars.length * LINE, rows.join(''));
}

const [CHART_HEIGHT, AXIS] = [180, 30];

/** How many were found, and how many healed, by each moment. */
export function overTime({ timeline, startedAt, finishedAt }: SweepReport): string {
  const { found, healed } = timeline;
  const [from, to] = [Date.parse(startedAt), Math.max(Date.parse(finishedAt), Date.parse(startedAt) + 1)];
  const total = (points: Timeline) => points.reduce((sum, { keys }) => sum + keys, 0);
  const most = Math.max(total(found), total(healed));
  if (most === 0) return '';
  const x = (at: number) => Math.round(((Math.min(Math.max(at, from), to) - from) / (to - from)) * WIDTH);
  const y = (keys: number) => Math.round(CHART_HEIGHT - (keys / most) * (CHART_HEIGHT - 20));
  const line = (points: Timeline, color: string, name: string) => {
    let sum = 0;
    const steps = points.map(({ at, keys }) => {
      sum += keys;
      return `H${x(at)}V${y(sum)}`;
    });
    return (
      `<path d="M0 ${y(0)}${steps.join('')}H${WIDTH}" fill="none" stroke="${color}" stroke-width="2">` +
      `<title>${name}: ${sum}</title></path>`
    );
  };
  const legend =
    `<text x="0" y="12" fill="${FOUND}">found: ${total(found)}</text>` +
    `<text x="120" y="12" fill="${HEALED}">healed: ${total(healed)}</text>`;
  const axis =
    `<text x="0" y="${CHART_HEIGHT + 20}">${startedAt}</text>` +
    `<text x="${WIDTH}" y="${CHART_HEIGHT + 20}" text-anchor="end">${finishedAt}</text>`;
  const lines = line(found, FOUND, 'found') + (healed.length === 0 ? '' : line(healed, HEALED, 'healed'));
  return svg('When keys were found to differ, and when they were healed', CHART_HEIGHT + AXIS, legend + lines + axis);
}

function svg(title: string, height: number, content: string): string {
  return (
    `<svg viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" role="img" font-size="14" font-family="inherit">` +
    `<title>${title}</title>${content}</svg>`
  );
}
