/** The keys of a server as a whole, page by page: what a full comparison asks of a Redis. */
import type { Connection } from './connection/connection.js';
import type { RedisFailure } from './connection/failure.js';
import { packed, unpacked } from './scripts/packed.js';
import { type Cells, scripts } from './scripts/script.js';
import { runForKey } from './scripts/script-runner.js';
import type { Slots } from './slots.js';

/** A master with what it has. */
export interface KeyServer {
  /** Its name and address, as `shardsOf` names it. */
  readonly place: string;
  /** The process that answers, and the database there: a cursor is worth nothing to another. */
  readonly server: string;
  /** Expired ones that are not yet evicted count, and those of keymend itself. */
  readonly keys: number;
  readonly slots: Slots;
  /** Slots that are on their way to it or from it, as CLUSTER NODES tells of them. */
  readonly moving: readonly string[];
}

/** From where the keys of a server are gone through, and which of them. */
export interface KeyScan {
  /** `0` at the beginning. */
  readonly cursor: string;
  /** About how many are looked at. Not so many that this holds a server for long: 1,000. */
  readonly count: number;
  /** As MATCH takes it; none: all. */
  readonly match?: string | undefined;
  /** As TYPE says it; none: all. */
  readonly type?: string | undefined;
  /** Whether the page is to be digested in the same call. */
  readonly digested: boolean;
}

/** Some keys of a server, none of keymend's own. */
export interface KeyPage {
  /** Where the next page begins; `0`: this was the last. */
  readonly cursor: string;
  readonly keys: readonly Buffer[];
  /** How many of keymend's own were left out. */
  readonly own: number;
  /** null: it was not asked for. */
  readonly digest: PageDigest | null;
}

/** What the first so many keys of those asked for hold together. */
export interface PageDigest {
  /** Over type and content of each, whatever encoding or version; a large value is left out. */
  readonly digest: string;
  /**
   * Of each key in ms since the epoch; `NO_EXPIRY` for none, -2 without key. null: none of them has
   * any.
   */
  readonly expiries: readonly number[] | null;
  /** Those whose values are too large to be gone through in one call. */
  readonly large: readonly Buffer[];
  /** How many keys: one at least, fewer than all where that would take the server long at once. */
  readonly count: number;
}

/** As `RedisPort.scanKeys`, of one server. */
export async function scanPage(connection: Connection, scan: KeyScan): Promise<KeyPage | RedisFailure> {
  const { cursor, count, match = '', type = '', digested } = scan;
  const row = [Buffer.from(cursor), `${count}`, match, type, digested ? '1' : '0'] as const;
  const answer = await runForKey(connection, scripts.scanPage, row, { atMaster: true });
  if (!('cells' in answer)) return answer;
  const [next, keys, own, ...digest] = answer.cells;
  return {
    cursor: String(next),
    keys: unpacked(keys as Buffer),
    own: Number(own),
    digest: digested ? pageDigest(digest) : null,
  };
}

/** As `RedisPort.digestKeys`, of one server. */
export async function digestKeys(connection: Connection, keys: readonly Buffer[]): Promise<PageDigest | RedisFailure> {
  const answer = await runForKey(connection, scripts.digestKeys, [packed(keys)], { atMaster: true });
  return 'cells' in answer ? pageDigest(answer.cells) : answer;
}

/** As `RedisPort.absentKeys`, of one server. */
export async function absentKeys(connection: Connection, keys: readonly Buffer[]): Promise<Buffer[] | RedisFailure> {
  const answer = await runForKey(connection, scripts.absentKeys, [packed(keys)], { atMaster: true });
  return 'cells' in answer ? unpacked(answer.cells[0] as Buffer) : answer;
}

function pageDigest([digest, expiries, large, count]: Cells): PageDigest {
  const said = String(expiries);
  return {
    digest: String(digest),
    expiries: said === '' ? null : said.split(' ').map(Number),
    large: unpacked(large as Buffer),
    count: Number(count),
  };
}
