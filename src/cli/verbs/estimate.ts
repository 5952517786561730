/** `keymend estimate KEYS` */
import type { LinkConfig } from '../../config.js';
import { type Estimate, estimate, KEYS_OF_A_BATCH, type Workload } from '../../cost-model.js';
import { readConfig } from '../configured.js';
import { chooseLink, EXIT, type GlobalOptions, print, VerbError } from '../context.js';

export interface EstimateFlags {
  readonly link?: string;
  readonly pricePerMillion?: string;
  readonly keysInAll?: string;
  readonly valueBytes: string;
  readonly target: Workload['target'];
  readonly outcome: Workload['outcome'];
  readonly transitionsPerSecond: string;
}

/** @throws VerbError for what can't be meant */
export function estimateKeys(text: string, flags: EstimateFlags, global: GlobalOptions): void {
  const link = chooseLink(readConfig(global).config, flags.link);
  const workload = workloadOf(text, flags, link);
  const pricePerMillion = priceOf(flags.pricePerMillion);
  const lanes = estimate(workload).map((lane) => ({ ...lane, money: moneyFor(lane, pricePerMillion) }));
  print(global, { link: link.name, ...workload, pricePerMillion, lanes }, () => describe(link, workload, lanes));
}

interface Priced extends Estimate {
  /** In the currency of the price; null: none was given. */
  readonly money: number | null;
}

/** @throws VerbError for what can't be meant */
function workloadOf(text: string, flags: EstimateFlags, { budget }: LinkConfig): Workload {
  const keys = whole('KEYS', text);
  const keysInAll = flags.keysInAll === undefined ? keys : whole('--keys-in-all', flags.keysInAll);
  if (keysInAll < keys)
    throw new VerbError(`--keys-in-all ${flags.keysInAll}: the link has at least the ${keys} that failed`, EXIT.usage);
  return {
    keys,
    keysInAll,
    valueBytes: whole('--value-bytes', flags.valueBytes),
    target: flags.target,
    outcome: flags.outcome,
    budget,
    transitionsPerSecond: whole('--transitions-per-second', flags.transitionsPerSecond),
  };
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

/** @throws VerbError */
function whole(name: string, text: string): number {
  const [, digits, unit] = /^([\d_,]*\d(?:\.\d+)?)([kmg]?)$/i.exec(text) ?? [];
  const product = Number((digits ?? '').replaceAll(/[_,]/g, '')) * UNITS[(unit ?? '').toLowerCase()]!;
  // 16.1 times a thousand is a little more than 16,100 as a double.
  const value = Number(product.toPrecision(15));
  if (digits !== undefined && Number.isSafeInteger(value) && value > 0) return value;
  throw new VerbError(`${name} ${text}: give a whole number above 0, for example 250000, 250k or 100M`, EXIT.usage);
}

/** @throws VerbError */
function priceOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  throw new VerbError(`--price-per-million ${text}: give a number, for example 50 or 42.5`, EXIT.usage);
}

function moneyFor({ actions }: Estimate, pricePerMillion: number | null): number | null {
  return pricePerMillion === null ? null : (actions / 1e6) * pricePerMillion;
}

const TITLES = { key: 'key by key', batch: 'in batches', sweep: 'sweep --repair' } as const;
const BOUND_BY = {
  temporal: 'Temporal',
  opsPerSecond: 'budget.opsPerSecond',
  bytesPerSecond: 'budget.bytesPerSecond',
  comparing: 'comparing all keys',
} as const;

function describe({ name, budget }: LinkConfig, workload: Workload, lanes: readonly Priced[]): string[] {
  const { keys, keysInAll, valueBytes, target, outcome, transitionsPerSecond } = workload;
  const priced = lanes.some(({ money }) => money !== null);
  const head = [
    '',
    'workflows',
    'actions',
    'transitions',
    'history',
    'minutes',
    'bound by',
    ...(priced ? ['money'] : []),
  ];
  const rows = lanes.map(({ lane, workflows, actions, stateTransitions, historyBytes, minutes, boundBy, money }) => [
    TITLES[lane],
    ...[workflows, actions, stateTransitions].map(grouped),
    bytesText(historyBytes),
    minutes < 10 ? minutes.toFixed(1) : grouped(Math.round(minutes)),
    BOUND_BY[boundBy],
    ...(money === null ? [] : [money.toFixed(2)]),
  ]);
  const widths = head.map((title, at) =>
    Math.max(...[title, ...rows.map((row) => row[at]!)].map(({ length }) => length)),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, at) => (at === 0 || at === 6 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
      .join('  ')
      .trimEnd();
  return [
    `${grouped(keys)} failed keys of link ${name}, which has ${grouped(keysInAll)}`,
    '',
    line(head),
    ...rows.map(line),
    '',
    `taken for granted: values of ${grouped(valueBytes)} bytes; the target ${target === 'missing' ? 'lacks the keys' : 'has other values'}; writes of ${outcome} outcome;`,
    `batches of ${grouped(KEYS_OF_A_BATCH)}; a budget of ${grouped(budget.opsPerSecond)} operations and ${bytesText(budget.bytesPerSecond)} a second;`,
    `a Temporal that does ${grouped(transitionsPerSecond)} state transitions a second; keys that heal at once`,
  ];
}

function grouped(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 0 });
}

const SIZES = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];

/** Units as in the configuration: 1 KB is 1,024 bytes. */
function bytesText(bytes: number): string {
  const size = Math.min(SIZES.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${Number((bytes / 1024 ** size).toPrecision(3))} ${SIZES[size]}`;
}
