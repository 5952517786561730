/**
 * What `keymend status KEY` says of the two sides now: whether they differ, and in what; never a
 * value. By the comparison of the engine, within the budget of the link, and nothing is written.
 */
import type { LinkConfig } from '../config.js';
import { compareKeys, LinkMemory } from '../engine/index.js';
import { cacheModeOf, connectSource } from '../mysql/connect-source.js';
import { within } from '../patience/within.js';
import { counted } from '../plural.js';
import { connectKeyServers, connectRedis, type KeyServers, RedisFailure } from '../redis/index.js';

/** A key on one side. */
interface KeySide {
  /** As TYPE says it; `none`: it is not there. */
  readonly type: string;
  /** Of its parts, of a string its bytes; null: there is none, or it is not told. */
  readonly size: number | null;
  /** ISO 8601, UTC; null: it does not expire. */
  readonly expiresAt: string | null;
}

export interface KeyComparison {
  /** `extra`: the target alone has it. null: not known, see `problem`. */
  readonly difference: 'none' | 'missing' | 'extra' | 'type' | 'value' | 'expiry' | null;
  /** null: it could not be asked. */
  readonly source: KeySide | null;
  readonly target: KeySide | null;
  /** Why not all is known; null: all is. */
  readonly problem: string | null;
}

const TIMEOUT_MS = 3_000;
const COMMAND_TIMEOUT_MS = 1_500;

const SIZES: Readonly<Record<string, { readonly command: string; readonly of: string }>> = {
  string: { command: 'STRLEN', of: 'byte' },
  hash: { command: 'HLEN', of: 'field' },
  list: { command: 'LLEN', of: 'element' },
  set: { command: 'SCARD', of: 'member' },
  zset: { command: 'ZCARD', of: 'member' },
  stream: { command: 'XLEN', of: 'entry' },
};

/** Never rejects: what can't be known is said in it. */
export async function keyComparison(link: LinkConfig, key: Buffer): Promise<KeyComparison> {
  const [found, source, target] = await Promise.all([
    compare(link, key),
    sideOf(link, 'source', key),
    sideOf(link, 'target', key),
  ]);
  // What is wrong with a side is said by the side that was asked for less.
  const away = [source, target].find((side) => side instanceof Error);
  const problem = away ?? (found instanceof Error ? found : null);
  return {
    difference: found instanceof Error ? null : found,
    source: source instanceof Error ? null : source,
    target: target instanceof Error ? null : target,
    problem: problem?.message ?? null,
  };
}

async function compare(link: LinkConfig, key: Buffer): Promise<KeyComparison['difference'] | Error> {
  const { largeValues } = link;
  const connect = (side: 'source' | 'target') => ({ name: side, commandTimeoutMs: COMMAND_TIMEOUT_MS, largeValues });
  const budget = { ...link.budget, link: link.name, warn() {} };
  const ports = {
    source: connectSource(link, connect('source')),
    target: connectRedis(link.target, { ...connect('target'), budget }),
  };
  const sides = { ...ports, memory: new LinkMemory(ports) };
  // A large value takes longer than somebody waits here.
  const end = new AbortController();
  const { expiryTolerance: expiryToleranceMs, deleteGuard } = link;
  const ofLink = { expiryToleranceMs, deleteGuard, cache: cacheModeOf(link) };
  const options = { ...ofLink, signal: end.signal, targetMayBeReplica: true };
  const comparing = compareKeys(sides, [key], options);
  comparing.catch(() => {});
  try {
    const compared = await within(TIMEOUT_MS, comparing);
    if (compared === 'late') return new Error(`the two sides could not be compared within ${TIMEOUT_MS / 1_000} s`);
    const [result] = compared;
    if (result!.outcome === 'failed') return result!.error;
    if (result!.outcome === 'deferred')
      return new Error("the target's budget is spoken for now; ask again in a moment");
    return result!.outcome === 'equal' ? 'none' : result!.difference;
  } catch (error) {
    return error as Error;
  } finally {
    end.abort();
    await Promise.all([ports.source.close(), ports.target.close()]);
  }
}

/** @returns null of a database: what its row says is compared, and not shown */
async function sideOf(link: LinkConfig, side: 'source' | 'target', key: Buffer): Promise<KeySide | null | Error> {
  const endpoint = link[side];
  if ('mysql' in endpoint) return null;
  const servers = connectKeyServers(endpoint, { name: side, commandTimeoutMs: COMMAND_TIMEOUT_MS });
  try {
    return await lookAt(servers, key);
  } catch (error) {
    return error as Error;
  } finally {
    servers.close();
  }
}

async function lookAt(servers: KeyServers, key: Buffer): Promise<KeySide> {
  const ask = async (command: string) => (await servers.send(key, [command, key])).reply;
  const [type, ttl] = [String(await ask('TYPE')), Number(await ask('PTTL'))];
  const { command } = SIZES[type] ?? {};
  const size = command === undefined ? null : await ask(command).then(Number).catch(unlessRefused);
  return { type, size, expiresAt: ttl < 0 ? null : new Date(Date.now() + ttl).toISOString() };
}

/** Of another type meanwhile, or a command that this user may not use. */
function unlessRefused(error: unknown): null {
  if (error instanceof RedisFailure) return null;
  throw error;
}

/** Lines for a person, each with its name. */
export function describeComparison({ difference, source, target, problem }: KeyComparison): [string, string][] {
  const lines: [string, string][] = [];
  if (difference !== null) lines.push(['now', DIFFERENCES[difference]]);
  if (problem !== null) lines.push(['now', `not known: ${problem}`]);
  if (source !== null) lines.push(['source', describeSide(source)]);
  if (target !== null) lines.push(['target', describeSide(target)]);
  return lines;
}

const DIFFERENCES = {
  none: 'both sides are equal',
  missing: 'differs: the target lacks the key',
  extra: 'differs: the target alone has the key',
  type: 'differs in type',
  value: 'differs in value',
  expiry: 'differs in expiry',
} as const;

function describeSide({ type, size, expiresAt }: KeySide): string {
  if (type === 'none') return 'not there';
  const { of } = SIZES[type] ?? {};
  const many = of === 'entry' ? 'entries' : `${of}s`;
  const holds = size === null || of === undefined ? '' : ` of ${counted(size, of, many)}`;
  return `${type}${holds}, ${expiresAt === null ? 'does not expire' : `expires at ${expiresAt}`}`;
}
