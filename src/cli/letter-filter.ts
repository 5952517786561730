/** Which dead letters the options of a verb mean. */
import type { LetterFilter } from '../../workflows/redrive-messages.js';
import { EXIT, VerbError } from './context.js';
import { duration } from './escalated/query.js';

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
    ...(reason !== undefined && { reason }),
    ...(error !== undefined && { errorType: error }),
    ...(link !== undefined && { link }),
    ...(prefix !== undefined && { prefix }),
    ...(group !== undefined && { group }),
    ...(from.length > 0 && { since: new Date(Math.max(...from)).toISOString() }),
    ...(to.length > 0 && { until: new Date(Math.min(...to)).toISOString() }),
  };
}

function ago(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  return Date.now() - duration(text, `--${name}`);
}

function moment(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const time = Date.parse(text);
  if (Number.isNaN(time)) {
    throw new VerbError(`--${name} ${text}: give a time, for example 2026-11-20T23:00:00Z`, EXIT.usage);
  }
  return time;
}
