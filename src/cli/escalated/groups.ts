/**
 * Escalated keys in groups, one for each error and link. Temporal can't count by an attribute of
 * ours, so the kinds are found by looking at a few keys of what is not in a kind yet, and then
 * counted: the cost is that of the kinds, not that of the keys.
 */
import type { Client } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../../workflows/messages.js';
import { quoted } from '../../temporal/quoted.js';
import type { InTime } from './in-time.js';
import { firstRows, type KeyRow, SAMPLE } from './rows.js';

export interface EscalatedGroup {
  /** null: their workflows do not show it. */
  readonly error: string | null;
  readonly link: string | null;
  /** null: not counted in time; those found are at least there. */
  readonly keys: number | null;
  /** The newest of them. */
  readonly found: readonly KeyRow[];
  /** What finds them all. */
  readonly query: string;
}

export interface EscalatedGroups {
  /** null: not counted in time. */
  readonly total: number | null;
  readonly groups: readonly EscalatedGroup[];
  /** Of kinds that were not come upon in time; null: not known. */
  readonly others: number | null;
}

/** Fewer say nothing of the others. */
const LEAST_SAMPLE = 20;
const MOST_KINDS = 30;

/**
 * @param query of what is to be grouped
 * @param inTime the groups are what is known by then
 * @throws an error of Temporal's client
 */
export async function escalatedGroups(client: Client, query: string, inTime: InTime): Promise<EscalatedGroups> {
  const newest = await firstRows(client, query, SAMPLE + 1);
  if (newest.length <= SAMPLE) return { total: newest.length, groups: all(query, newest), others: 0 };

  const count = (query: string) => inTime(async () => (await client.workflow.count(query)).count);
  // Some stores go through all of them for each count: how many there are counts most.
  const counting = count(query);
  const kinds = await kindsIn(client, query, newest, inTime);
  const [total, ...groups] = await Promise.all([
    counting,
    ...kinds.found.map(async (kind) => groupOf(query, kind, await count(`${query} AND ${kind.is}`))),
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

function nameOf({ error, link }: KeyRow): string {
  return JSON.stringify([error, link]);
}

/** Of few keys all is known. */
function all(query: string, found: readonly KeyRow[]): EscalatedGroup[] {
  const kinds = new Map<string, Kind>();
  for (const row of found) {
    if (!kinds.has(nameOf(row))) kinds.set(nameOf(row), kindOf(row));
    kinds.get(nameOf(row))!.rows.push(row);
  }
  return sorted([...kinds.values()].map((kind) => groupOf(query, kind, kind.rows.length)));
}

function groupOf(query: string, { rows: found, is }: Kind, keys: number | null): EscalatedGroup {
  const { error, link } = found[0]!;
  return { error, link, keys, found, query: `${query} AND ${is}` };
}

function sorted(groups: readonly EscalatedGroup[]): EscalatedGroup[] {
  return [...groups].sort((one, other) => (other.keys ?? other.found.length) - (one.keys ?? one.found.length));
}
