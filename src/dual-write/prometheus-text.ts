/** The numbers of DualWriters as Prometheus reads them: a text, for which nothing is needed. */
import type { DualWriterStats } from './options.js';

type Read = (stats: DualWriterStats) => number;

const METRICS: readonly (readonly [name: string, help: string, read: Read])[] = [
  ['mirrored_total', 'Writes and transactions that the target has carried out.', ({ mirrored }) => mirrored],
  ['recorded_total', 'Records of failed writes that a sink has taken.', ({ recorded }) => recorded],
  ['lost_total', 'Records of failed writes that no sink took.', ({ lost }) => lost],
  ['uncovered_total', 'Writes without an entry in the outbox, in transactional mode.', ({ uncovered }) => uncovered],
  ['unmarked_total', 'Writes without a mark of their writer.', ({ shards }) => sum(shards, ({ unmarked }) => unmarked)],
  ['recording', 'Records that wait for a sink.', ({ recording }) => recording],
  ['in_flight', 'Writes and transactions that the target has not answered yet.', ({ inFlight }) => inFlight],
  ['unanswered', 'Writes that the source has not answered yet.', ({ unanswered }) => unanswered],
  [
    'servers_away',
    'Masters of the target that the writer sends nothing to, for they do not answer.',
    ({ shards }) => sum(shards, ({ breaker }) => Number(breaker !== 'closed')),
  ],
];

function sum<T>(all: readonly T[], read: (one: T) => number): number {
  return all.reduce((total, one) => total + read(one), 0);
}

/**
 * @param writers by the name of their link, which becomes the label `link`
 * @returns lines to put behind those of the application's own registry
 * @example response.end((await register.metrics()) + prometheusText({ 'east-to-west': redis }));
 */
export function prometheusText(writers: Readonly<Record<string, { stats(): DualWriterStats }>>): string {
  // At one moment, whatever the number of metrics.
  const all = Object.entries(writers).map(([link, writer]) => [link, writer.stats()] as const);
  return METRICS.flatMap(([suffix, help, read]) => {
    const name = `keymend_writer_${suffix}`;
    const type = suffix.endsWith('_total') ? 'counter' : 'gauge';
    const lines = all.map(([link, stats]) => `${name}{link="${escaped(link)}"} ${read(stats)}\n`);
    return [`# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`, ...lines];
  }).join('');
}

function escaped(label: string): string {
  return label.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n');
}
