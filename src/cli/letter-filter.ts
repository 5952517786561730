/** Which dead letters the options of a verb mean. */

import { DEAD_LETTER_REASONS } from '../../workflows/dead-letter-reasons.js';
import type { LetterFilter } from '../../workflows/redrive-messages.js';
import { EXIT, report, VerbError } from './context.js';
import { duration, errorType, known } from './escalated/query.js';

export interface LetterFlags {
  readonly reason?: string;
  readonly error?: string;
  readonly link?: string;
  readonly prefix?: string;
  readonly group?: string;
  readonly olderThan?: string;
  readonly newerThan?: string;
  readonly since?: string;
  readonly until?: string;
}

/** @throws VerbError for what can't be meant */
export function filterOf(flags: LetterFlags): LetterFilter {
  for (const [name, value] of Object.entries(flags))
    if (value === '')
      throw new VerbError(`--${name} is empty, most likely a shell variable that is not set`, EXIT.usage);
  const { reason, error, link, prefix, group, olderThan, newerThan, since, until } = flags;
  const from = [ago('newer-than', newerThan), moment('since', since)].filter((time) => time !== undefined);
  const to = [ago('older-than', olderThan), moment('until', until)].filter((time) => time !== undefined);
  return {
    ...(reason !== undefined && { reason: reasonOf(reason) }),
    ...(error !== undefined && { errorType: errorType(error) }),
    ...(link !== undefined && { link }),
    ...(prefix !== undefined && { prefix }),
    ...(group !== undefined && { group: fingerprint(group) }),
    ...(from.length > 0 && { since: new Date(Math.max(...from)).toISOString() }),
    ...(to.length > 0 && { until: new Date(Math.min(...to)).toISOString() }),
  };
}

function reasonOf(text: string): string {
  const of = { text, option: '--reason', what: 'reason of a letter', list: 'docs/dead-letters.md' };
  return known(of, DEAD_LETTER_REASONS);
}

function fingerprint(text: string): string {
  if (/^[0-9a-f]{8}$/.test(text)) return text;
  throw new VerbError(`--group ${text}: give the 8 digits that \`keymend dlq group\` shows`, EXIT.usage);
}

function ago(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  return Date.now() - duration(text, `--${name}`);
}

/** A date, or a date and a time; in UTC unless it says which zone. */
const ISO = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)(Z|[+-]\d\d:?\d\d)?)?$/i;

/** Never guessed: what is thrown away by it does not come back. */
function moment(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, date, clock = '00:00', zone] = ISO.exec(text.trim()) ?? [];
  const local = Date.parse(`${date}T${clock}Z`);
  // There is no 31st of November: that would be another day.
  const isReal = !Number.isNaN(local) && new Date(local).toISOString().startsWith(`${date}T${clock}`);
  const time = isReal ? Date.parse(`${date}T${clock}${zone?.toUpperCase() ?? 'Z'}`) : Number.NaN;
  if (Number.isNaN(time)) {
    throw new VerbError(
      `--${name} ${text}: give a time of ISO 8601, for example 2026-11-20 or 2026-11-20T23:00:00Z`,
      EXIT.usage,
    );
  }
  if (zone === undefined) report(`--${name} ${text} is read as ${new Date(time).toISOString()}: it names no zone`);
  return time;
}
