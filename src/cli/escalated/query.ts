/** Which escalated keys are meant: the filters that verbs share, as a query of Temporal. */
import ms, { type StringValue } from 'ms';
import { ERRORS } from '../../../workflows/error-types.js';
import { SEARCH_ATTRIBUTES, WORKFLOW_TYPE } from '../../../workflows/messages.js';
import type { Config } from '../../config.js';
import { didYouMean } from '../../did-you-mean.js';
import { quoted } from '../../temporal/quoted.js';
import { chooseLink, EXIT, VerbError } from '../context.js';
import type { Filters } from '../usage/filters.js';

export interface EscalatedQuery {
  /** As Temporal takes it. */
  readonly query: string;
  /** The store may compare prefixes without regard to case; this does not. */
  matches(workflowId: string): boolean;
  /** The search attributes it stands on. */
  readonly attributes: readonly (keyof typeof SEARCH_ATTRIBUTES)[];
}

/** @throws VerbError for what can't be meant */
export function escalatedQuery(config: Config, filters: Filters): EscalatedQuery {
  const { error, prefix, olderThan } = filters;
  const link = filters.link === undefined ? undefined : chooseLink(config, filters.link);
  const links = link === undefined ? config.links : [link];
  const clauses = [
    `WorkflowType = ${quoted(WORKFLOW_TYPE)}`,
    'ExecutionStatus = "Running"',
    `${SEARCH_ATTRIBUTES.state} = "escalated"`,
  ];
  if (link !== undefined) clauses.push(`${SEARCH_ATTRIBUTES.link} = ${quoted(link.name)}`);
  if (error !== undefined) clauses.push(`${SEARCH_ATTRIBUTES.error} = ${quoted(errorType(error))}`);
  if (prefix === '') throw new VerbError('--prefix is empty, most likely a shell variable that is not set', EXIT.usage);
  const hashed =
    prefix === undefined ? undefined : links.find(({ workflowIdSecret }) => workflowIdSecret !== undefined);
  if (hashed !== undefined) {
    const message = `--prefix finds nothing of link ${hashed.name}: its workflow IDs do not show keys (workflowIdSecret)`;
    throw new VerbError(message, EXIT.usage);
  }
  const begins = prefix === undefined ? [''] : [...new Set(links.map((one) => one.workflowIdPrefix + prefix))];
  if (prefix !== undefined)
    clauses.push(`(${begins.map((text) => `WorkflowId STARTS_WITH ${quoted(text)}`).join(' OR ')})`);
  if (olderThan !== undefined)
    clauses.push(`StartTime < ${quoted(new Date(Date.now() - duration(olderThan, '--older-than')).toISOString())}`);
  return {
    query: clauses.join(' AND '),
    matches: (workflowId) => begins.some((text) => workflowId.startsWith(text)),
    attributes: [
      'state',
      ...(link === undefined ? [] : (['link'] as const)),
      ...(error === undefined ? [] : (['error'] as const)),
    ],
  };
}

/** @throws VerbError for a typing error */
export function errorType(text: string): string {
  return known({ text, option: '--error', what: 'error type', list: 'docs/errors.md' }, Object.keys(ERRORS));
}

/**
 * One that keymend does not name may be of another version.
 * @throws VerbError for a typing error
 */
export function known(
  { text, option, what, list }: { text: string; option: string; what: string; list: string },
  names: readonly string[],
): string {
  const meant = names.includes(text) ? '' : didYouMean(text, names);
  if (meant === '' && /^[\w-]+$/.test(text)) return text;
  throw new VerbError(`${option} ${text}: there is no such ${what}${meant}; ${list} lists them`, EXIT.usage);
}

/**
 * In ms. A unit has to be there, and in small letters: of a bare number nobody means milliseconds,
 * and by `1M` hardly a minute.
 * @throws VerbError for what is no time
 */
export function duration(text: string, option: string): number {
  const given = text.trim();
  const isPlain = text.length <= 100 && (/^0$/.test(given) || /^[\d.]+ ?[a-z]+$/.test(given));
  const value = isPlain ? ms(given as StringValue) : undefined;
  // Longer ago is before 1970, where nothing was, and then before all dates.
  if (value !== undefined && value >= 0 && value <= Date.now()) return value;
  throw new VerbError(`${option} ${text}: give a time, for example 30m, 2h or 1d`, EXIT.usage);
}
