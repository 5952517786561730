/**
 * What the keys of a group begin with, and how many of them: found as the groups are, by looking
 * at a few keys that begin with nothing found so far.
 */
import type { Client } from '@temporalio/client';
import type { Config } from '../../config.js';
import { prefixOf } from '../../events/key-prefix.js';
import { quoted } from '../../temporal/quoted.js';
import type { EscalatedGroup, EscalatedGroups } from './groups.js';
import type { InTime } from './in-time.js';
import { firstRows, type KeyRow, SAMPLE } from './rows.js';

/** All of its keys begin so, those of a longer prefix as well: so many `--prefix` means. */
interface KeyPrefix {
  readonly prefix: string;
  /**
   * null: not counted; `sample` is at least there. By a store that compares without regard to case,
   * those of a `User:` that was not come upon are counted as `user:`.
   */
  readonly keys: number | null;
  readonly sample: number;
  /** There is one that differs in case alone, and some stores would count both as each. */
  readonly isTwin: boolean;
}

interface KeyPrefixes {
  /** Most frequent first; none where workflow IDs do not show keys. */
  readonly prefixes: readonly KeyPrefix[];
  /** They begin with none of these; null: not known. */
  readonly otherKeys: number | null;
}

export interface PrefixedGroup extends Omit<EscalatedGroup, 'query' | 'found'>, KeyPrefixes {
  /** At least so many keys there are. */
  readonly sample: number;
}

export interface PrefixedGroups extends Omit<EscalatedGroups, 'groups'> {
  readonly groups: readonly PrefixedGroup[];
}

/** More would fill the screen; each is counted on its own. */
const MOST_PREFIXES = 5;

/**
 * Group after group, so that a busy store is not asked for all of them at once.
 * @param inTime what is not known by then is left out, or not counted
 */
export async function withPrefixes(
  client: Client,
  config: Config,
  { total, groups, others }: EscalatedGroups,
  inTime: InTime,
): Promise<PrefixedGroups> {
  const prefixed: PrefixedGroup[] = [];
  for (const group of groups) {
    const { error, link, keys, found } = group;
    prefixed.push({ error, link, keys, sample: found.length, ...(await prefixesOf(client, config, group, inTime)) });
  }
  return { total, groups: prefixed, others };
}

async function prefixesOf(client: Client, config: Config, group: EscalatedGroup, inTime: InTime): Promise<KeyPrefixes> {
  const { query, found, keys } = group;
  const link = config.links.find(({ name }) => name === group.link);
  if (link === undefined || link.workflowIdSecret !== undefined) return { prefixes: [], otherKeys: null };
  const { workflowIdPrefix: start } = link;
  const keyIn = ({ workflowId }: KeyRow) =>
    workflowId.startsWith(start) ? workflowId.slice(start.length) : workflowId;
  const begins = (prefix: string) => `WorkflowId STARTS_WITH ${quoted(start + prefix)}`;
  const isAll = found.length === keys;
  const samples = await samplesIn(found.map(keyIn), async (known) => {
    if (isAll) return null;
    const rest = [query, ...known.map((prefix) => `NOT ${begins(prefix)}`)].join(' AND ');
    return inTime(async () => (await firstRows(client, rest, SAMPLE)).map(keyIn));
  });
  const count = (prefix: string) =>
    inTime(async () => (await client.workflow.count(`${query} AND ${begins(prefix)}`)).count);
  const prefixes = await Promise.all(
    [...samples].map(async ([prefix, sample]) => {
      const isTwin = hasTwin(prefix, samples);
      const keys = isAll ? sample : isTwin ? null : await count(prefix);
      return { prefix, keys, sample, isTwin };
    }),
  );
  return {
    prefixes: prefixes.sort((one, other) => (other.keys ?? other.sample) - (one.keys ?? one.sample)),
    otherKeys: otherKeys(prefixes, keys),
  };
}

/**
 * How many keys of those that were looked at begin so, for each prefix that was found.
 * @param look at keys that begin with none of these; null: no more can be looked at
 */
async function samplesIn(
  newest: readonly string[],
  look: (known: readonly string[]) => Promise<readonly string[] | null>,
): Promise<ReadonlyMap<string, number>> {
  const seen = [...newest];
  for (let samples = samplesOf(seen); ; ) {
    const page = samples.size < MOST_PREFIXES ? await look([...samples.keys()]) : null;
    if (page === null) return samples;
    seen.push(...page);
    const next = samplesOf(seen);
    if (next.size === samples.size) return samples;
    samples = next;
  }
}

function samplesOf(keys: readonly string[]): ReadonlyMap<string, number> {
  const prefixes = new Set(keys.map((key) => prefixOf(Buffer.from(key))));
  prefixes.delete('');
  const samples = [...prefixes].map((prefix) => [prefix, keys.filter((key) => key.startsWith(prefix)).length] as const);
  return new Map(samples.sort(([, one], [, other]) => other - one).slice(0, MOST_PREFIXES));
}

function hasTwin(prefix: string, samples: ReadonlyMap<string, number>): boolean {
  return [...samples.keys()].some((other) => other !== prefix && other.toLowerCase() === prefix.toLowerCase());
}

function otherKeys(prefixes: readonly KeyPrefix[], keys: number | null): number | null {
  const isWithin = (prefix: string) =>
    prefixes.some((other) => other.prefix !== prefix && prefix.startsWith(other.prefix));
  const outermost = prefixes.filter(({ prefix }) => !isWithin(prefix));
  if (keys === null || outermost.some(({ keys }) => keys === null)) return null;
  return Math.max(
    0,
    outermost.reduce((left, { keys }) => left - keys!, keys),
  );
}
