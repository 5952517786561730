/** Which keys a verb for many is meant for, as they are found one after the other. */
import type { Client } from '@temporalio/client';
import { SEARCH_ATTRIBUTES, WORKFLOW_TYPE } from '../../../workflows/messages.js';
import type { Config } from '../../config.js';
import { within } from '../../patience/within.js';
import { quoted } from '../../temporal/quoted.js';
import { chooseLink, EXIT, VerbError } from '../context.js';
import { escalatedQuery } from '../escalated/query.js';
import { escalatedRows, type KeyRow, rows } from '../escalated/rows.js';
import type { KeyWorkflow } from '../key-workflow.js';
import type { BulkFlags } from '../usage/bulk.js';
import { isFiltered } from '../usage/filters.js';
import type { KeyOptions } from '../usage/options.js';
import { linesOf } from './lines.js';

const COUNTED_WITHIN_MS = 2_000;

/** One that is to be told. */
export interface Target {
  readonly workflowId: string;
  /** Both of what was found by a search. */
  readonly runId: string | null;
  readonly taskQueue: string | null;
  readonly isEscalated: boolean;
  /** Of what was given by its key. */
  readonly key: KeyWorkflow | null;
}

export interface Selection {
  /** For a person: "every escalated key of link a". */
  readonly what: string;
  /** About how many there are now; null: not known, or not soon. Never rejects. */
  readonly count: () => Promise<number | null>;
  /** Bounded in memory: the next ones are looked for when these are done. */
  readonly targets: AsyncIterable<Target>;
  /** Whether all that is escalated is meant, within `link`. */
  readonly isAllEscalated: boolean;
}

/** From what is written to the workflow of a key. @throws VerbError for what is none */
export type KeyOf = (config: Config, text: string, options: KeyOptions) => KeyWorkflow;

/**
 * @returns null when one key alone is meant
 * @throws VerbError for what can't be meant
 */
export function selectionOf(client: Client, config: Config, flags: BulkFlags, keyOf: KeyOf): Selection | null {
  const { escalated, query, file, link } = flags;
  if (escalated) {
    const meant = escalatedQuery(config, flags);
    const narrowed = isFiltered(flags) ? ' that the filters leave' : '';
    return {
      what: `every escalated key${link === undefined ? '' : ` of link ${link}`}${narrowed}`,
      count: () => countSoon(client, meant.query),
      targets: listed(escalatedRows(client, meant)),
      isAllEscalated: !isFiltered(flags),
    };
  }
  if (query !== undefined) {
    const name = link === undefined ? null : chooseLink(config, link).name;
    const clauses = [
      `WorkflowType = ${quoted(WORKFLOW_TYPE)}`,
      'ExecutionStatus = "Running"',
      ...(name === null ? [] : [`${SEARCH_ATTRIBUTES.link} = ${quoted(name)}`]),
      `(${query})`,
    ].join(' AND ');
    return {
      what: `every key under way${name === null ? '' : ` of link ${name}`} that ${query} finds`,
      count: () => countSoon(client, clauses),
      targets: listed(rows(client, clauses)),
      isAllEscalated: false,
    };
  }
  if (file === undefined) return null;
  const targets = ofFile(config, file, flags, keyOf);
  return { what: `every key in ${file}`, count: async () => null, targets, isAllEscalated: false };
}

/** Some stores go through all of them for that. */
async function countSoon(client: Client, query: string): Promise<number | null> {
  const counting = client.workflow.count(query).then(({ count }) => count);
  counting.catch(() => {}); // It may fail when nobody waits any more.
  const found = await within(COUNTED_WITHIN_MS, counting).catch(() => null);
  return found === 'late' ? null : found;
}

/** @throws VerbError for options that do not go together */
export function expectOneMeaning(key: string | undefined, flags: BulkFlags): void {
  const { escalated, query, file, rate, dryRun, yes, wait } = flags;
  const given = [
    ...(key === undefined ? [] : ['KEY']),
    ...(escalated ? ['--escalated'] : []),
    ...(query === undefined ? [] : ['--query']),
    ...(file === undefined ? [] : ['--file']),
  ];
  if (given.length > 1) throw new VerbError(`say one of ${given.join(' and ')}, not both`, EXIT.usage);
  if (!escalated && isFiltered(flags))
    throw new VerbError('--error, --prefix and --older-than narrow down --escalated', EXIT.usage);
  const isBulk = escalated || query !== undefined || file !== undefined;
  const forMany = Object.entries({ rate, 'dry-run': dryRun, yes, wait }).find(([, value]) => value !== undefined);
  if (!isBulk && key !== undefined && forMany !== undefined)
    throw new VerbError(`--${forMany[0]} is for many keys: --escalated, --query or --file`, EXIT.usage);
  const isClause = (text: string) => !/\border\s+by\b|\bgroup\s+by\b/i.test(text) && isBalanced(text);
  if (query !== undefined && (query.trim() === '' || !isClause(query)))
    throw new VerbError(
      '--query: give what comes behind WHERE, for example KeymendError = "TargetReadOnly"',
      EXIT.usage,
    );
}

/**
 * Outside of quotes each parenthesis is closed, and none that was not opened: `a) OR (b` would find
 * what is no key.
 */
function isBalanced(query: string): boolean {
  const bare = query.replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, '');
  let depth = 0;
  for (const character of bare) {
    if (character === '(') depth += 1;
    else if (character === ')') depth -= 1;
    if (depth < 0) return false;
  }
  return depth === 0 && !/["']/.test(bare);
}

async function* listed(found: AsyncIterable<KeyRow>): AsyncGenerator<Target> {
  for await (const { workflowId, runId, taskQueue, isEscalated } of found)
    yield { workflowId, runId, taskQueue, isEscalated, key: null };
}

async function* ofFile(config: Config, file: string, flags: BulkFlags, keyOf: KeyOf): AsyncGenerator<Target> {
  for await (const { text, place } of linesOf(file)) {
    let key: KeyWorkflow;
    try {
      key = keyOf(config, text, flags);
    } catch (error) {
      if (!(error instanceof VerbError)) throw error;
      throw new VerbError(`${place}: ${error.message}`, error.exitCode);
    }
    yield { workflowId: key.workflowId, runId: null, taskQueue: null, isEscalated: false, key };
  }
}
