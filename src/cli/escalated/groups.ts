/**
 * Escalated keys in groups, one for each error and link. Temporal can't count by an attribute of
 * ours, so the kinds are found by looking at a few keys of what is not in a kind yet, and then
 * counted: the cost is that of the kinds, not that of the keys.
 */
import type { Client } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../../workflows/messages.js';
import type { Config } from '../../config.js';
import { prefixOf } from '../../events/key-prefix.js';
import { within } from '../../patience/within.js';
import { quoted } from '../../temporal/quoted.js';
import { type KeyRow, rows } from './rows.js';

export interface EscalatedGroup {
  /** null: their workflows do not show it. */
  readonly error: string | null;
  readonly link: string | null;
  /** null: not counted in time; `sample` is at least there. */
  readonly keys: number | null;
  /** The newest of them, by what their keys begin with; the most frequent first. */
  readonly sample: {
    readonly keys: number;
    readonly prefixes: readonly { readonly prefix: string; readonly keys: number }[];
  };
}

export interface EscalatedGroups {
  /** null: not counted in time. */
  readonly total: number | null;
  readonly groups: readonly EscalatedGroup[];
  /** Of kinds that were not come upon in time; null: not known. */
  readonly others: number | null;
}

const SAMPLE = 100;
/** Fewer say nothing of the others. */
const LEAST_SAMPLE = 20;
const MOST_KINDS = 30;

/**
 * @param query of what is to be grouped
 * @param timeoutMs after this the groups are what is known by then
 * @throws an error of Temporal's client
 */
export async function escalatedGroups(
  client: Client,
  config: Config,
  query: string,
  timeoutMs: number,
): Promise<EscalatedGroups> {
  const deadline = performance.now() + timeoutMs;
  const inTime: InTime = async (work) => {
    if (performance.now() > deadline) return null;
    const working = work();
    working.catch(() => {}); // It may fail when nobody waits any more.
    const found = await within(deadline - performance.now(), working).catch(() => null);
    return found === 'late' ? null : found;
  };
  const newest = await firstRows(client, query, SAMPLE + 1);
  if (newest.length <= SAMPLE) return { total: newest.length, groups: all(config, newest), others: 0 };

  const count = (clause = '') => inTime(async () => (await client.workflow.count(query + clause)).count);
  // Some stores go through all of them for each count: how many there are counts most.
  const counting = count();
  const kinds = await kindsIn(client, query, newest, inTime);
  const [total, ...groups] = await Promise.all([
    counting,
    ...kinds.found.map(async ({ rows, is }) => groupOf(config, rows, await count(` AND ${is}`))),
  ]);
  return rounded(total, groups, kinds.areAll);
}

/** Sets what follows from the rest: of a single group that was not counted, how many are left. */
function rounded(total: number | null, found: readonly EscalatedGroup[], areAll: boolean): EscalatedGroups {
  const counted = found.reduce((sum, { keys }) => sum + (keys ?? 0), 0);
  const uncounted = found.filter(({ keys }) => keys === null);
  if (total === null) return { total, groups: sorted(found), others: areAll ? 0 : null };
  const left = Math.max(0, total - counted);
  if (uncounted.length === 0) return { total, groups: sorted(found), others: areAll ? 0 : left };
  if (uncounted.length > 1 || !areAll) return { total, groups: sorted(found), others: areAll ? 0 : null };
  return { total, groups: sorted(found.map((group) => ({ ...group, keys: group.keys ?? left }))), others: 0 };
}

/** Resolves with null when it is late, or fails. */
type InTime = <T>(work: () => Promise<T>) => Promise<T | null>;

/** Looks at a page of what is of no kind yet, until there is none. */
async function kindsIn(
  client: Client,
  query: string,
  newest: readonly KeyRow[],
  inTime: InTime,
): Promise<{ found: readonly Kind[]; areAll: boolean }> {
  const kinds = new Map<string, Kind>();
  for (let page = newest; ; ) {
    for (const row of page) if (!kinds.has(nameOf(row))) kinds.set(nameOf(row), kindOf(row));
    for (const row of page) kinds.get(nameOf(row))!.rows.push(row);
    for (const kind of kinds.values()) {
      if (kind.rows.length >= LEAST_SAMPLE || kind.isSampled) continue;
      kind.isSampled = true;
      kind.rows = (await inTime(() => firstRows(client, `${query} AND ${kind.is}`, SAMPLE))) ?? kind.rows;
    }
    if (kinds.size >= MOST_KINDS) return { found: [...kinds.values()], areAll: false };
    const rest = [query, ...[...kinds.values()].map(({ isNot }) => isNot)].join(' AND ');
    const next = await inTime(() => firstRows(client, rest, SAMPLE));
    if (next === null || next.length === 0) return { found: [...kinds.values()], areAll: next !== null };
    page = next;
  }
}

interface Kind {
  rows: KeyRow[];
  /** Looked for by itself. */
  isSampled: boolean;
  /** Clauses of a query. */
  readonly is: string;
  readonly isNot: string;
}

function kindOf({ error, link }: KeyRow): Kind {
  const is = (name: string, value: string | null) =>
    value === null ? `${name} IS NULL` : `${name} = ${quoted(value)}`;
  // What does not show an attribute is unequal to nothing, as SQL has it.
  const isNot = (name: string, value: string | null) =>
    value === null ? `${name} IS NOT NULL` : `${name} != ${quoted(value)} OR ${name} IS NULL`;
  const { error: ofError, link: ofLink } = SEARCH_ATTRIBUTES;
  return {
    rows: [],
    isSampled: false,
    is: `${is(ofError, error)} AND ${is(ofLink, link)}`,
    isNot: `(${isNot(ofError, error)} OR ${isNot(ofLink, link)})`,
  };
}

async function firstRows(client: Client, query: string, most: number): Promise<KeyRow[]> {
  const found: KeyRow[] = [];
  for await (const row of rows(client, query, most)) if (found.push(row) === most) break;
  return found;
}

function nameOf({ error, link }: KeyRow): string {
  return JSON.stringify([error, link]);
}

/** Of few keys all is known. */
function all(config: Config, found: readonly KeyRow[]): EscalatedGroup[] {
  const kinds = new Map<string, KeyRow[]>();
  for (const row of found) kinds.set(nameOf(row), [...(kinds.get(nameOf(row)) ?? []), row]);
  return sorted([...kinds.values()].map((rows) => groupOf(config, rows, rows.length)));
}

function groupOf(config: Config, found: readonly KeyRow[], keys: number | null): EscalatedGroup {
  const { error, link } = found[0]!;
  const counts = new Map<string, number>();
  for (const { workflowId } of found) {
    const prefix = prefixOf(Buffer.from(keyIn(config, link, workflowId)));
    counts.set(prefix, (counts.get(prefix) ?? 0) + 1);
  }
  const prefixes = [...counts].map(([prefix, keys]) => ({ prefix, keys })).sort((one, other) => other.keys - one.keys);
  return { error, link, keys, sample: { keys: found.length, prefixes } };
}

/** The ID without what the link puts in front of it; of a hashed key that is all there is. */
function keyIn({ links }: Config, link: string | null, workflowId: string): string {
  const prefix = links.find(({ name }) => name === link)?.workflowIdPrefix ?? '';
  return workflowId.startsWith(prefix) ? workflowId.slice(prefix.length) : workflowId;
}

function sorted(groups: readonly EscalatedGroup[]): EscalatedGroup[] {
  return [...groups].sort((one, other) => (other.keys ?? other.sample.keys) - (one.keys ?? one.sample.keys));
}
