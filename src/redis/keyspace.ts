/** The keys of a server as a whole, page by page: what a full comparison asks of a Redis. */
import { randomBytes } from 'node:crypto';
import type { Connection } from './connection/connection.js';
import type { RedisFailure } from './connection/failure.js';
import { packed, unpacked } from './scripts/packed.js';
import { type Cells, scripts } from './scripts/script.js';
import { type RunOptions, runForKey } from './scripts/script-runner.js';
import { SLOTS, type Slots, slotOf } from './slots.js';

/** A master with what it has. */
export interface KeyServer {
  /** Its name and address, as `shardsOf` names it. */
  readonly place: string;
  /** The process that answers, and the database there: a cursor is worth nothing to another. */
  readonly server: string;
  /** Expired ones that are not yet evicted count, and those of keymend itself. */
  readonly keys: number;
  readonly slots: Slots;
  /** A replica in the place of its master. */
  readonly isReplica?: true;
  /** Slots that are on their way to it or from it, as CLUSTER NODES tells of them. */
  readonly moving: readonly string[];
}

/** From where the keys of a server are gone through, and which of them. */
export interface KeyScan {
  /** `0` at the beginning; null: from anywhere, as good as drawn by lot. */
  readonly cursor: string | null;
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
  /**
   * When the first field of any hash among them expires, in ms since the epoch; 0: that is not
   * known of all, null: none does. A hash goes with its last field.
   */
  readonly fieldExpiry: number | null;
  /** Those whose values are too large to be gone through in one call. */
  readonly large: readonly Buffer[];
  /** How many keys: one at least, fewer than all where that would take the server long at once. */
  readonly count: number;
}

/** What goes through the keys of a Redis asks this of it: of its masters, or of their replicas. */
export interface Keyspace {
  /** Whether it can have this key. None: it can have any. */
  readonly takes?: (key: Buffer) => boolean;

  /** As of `RedisPort`. */
  readonly place: string;
  /** As of `RedisPort`. */
  readonly connections: number;
  /** Names for each key the master that has it, as far as is known. */
  shardsOf(keys: readonly Buffer[]): Promise<readonly string[]>;

  /** Its masters, each by itself; the one server that there is. Fails where any does not answer. */
  keyServers(): Promise<readonly KeyServer[] | RedisFailure>;

  /**
   * One page of the keys of a master, by SCAN's rules, as `scanMembers`; some keys may come twice.
   * Idempotent.
   * @param place as in `KeyServer`. Fails with the code `DEMOTED` where no master has that name
   */
  scanKeys(place: string, scan: KeyScan): Promise<KeyPage | RedisFailure>;

  /**
   * Digests the first keys together. Idempotent. Two equal ones of any two servers prove that type
   * and content of each key are the same.
   * @param keys at most as many as a page has, all of one master
   */
  digestKeys(keys: readonly Buffer[]): Promise<PageDigest | RedisFailure>;

  /**
   * Which of these keys, all of one master, are not there. Idempotent.
   * @param type as in `KeyScan`: what is of another one counts as not there
   */
  absentKeys(keys: readonly Buffer[], type?: string): Promise<readonly Buffer[] | RedisFailure>;
}

/** Where a page is read: at a master, which says so itself, or at a replica. */
type Reading = Pick<RunOptions, 'atMaster'>;
const AT_MASTER: Reading = { atMaster: true };

/** As `RedisPort.scanKeys`, of one server. */
export async function scanPage(
  connection: Connection,
  scan: KeyScan,
  reading = AT_MASTER,
): Promise<KeyPage | RedisFailure> {
  const { cursor, count, match = '', type = '', digested } = scan;
  const from = cursor === null ? await anywhere(connection, match) : [cursor, ''];
  const row = [Buffer.from(from[0]!), `${count}`, match, type, digested ? '1' : '0', from[1]!] as const;
  const answer = await runForKey(connection, scripts.scanPage, row, reading);
  if (!('cells' in answer)) return answer;
  const [next, keys, own, ...digest] = answer.cells;
  return {
    cursor: String(next),
    keys: unpacked(keys as Buffer),
    own: Number(own),
    digest: digested ? pageDigest(digest) : null,
  };
}

/**
 * SCAN takes any cursor. In a node of a Cluster the servers of today have the keys of each slot
 * apart, and the cursor names the slot in its low bits: one that the node has no key of would
 * always be followed by the same. So it is that of a key drawn by lot, or of the pattern.
 * @returns a cursor; and that for such a server, empty elsewhere
 */
async function anywhere(connection: Connection, match: string): Promise<[string, string]> {
  const random = randomBytes(6).readUIntBE(0, 6);
  const slot = connection.isNode ? (slotOfPattern(match) ?? (await slotByLot(connection))) : null;
  return [`${random}`, slot === null ? '' : `${random - (random % SLOTS) + slot}`];
}

/** What fails here fails in the scan, too. */
async function slotByLot(connection: Connection): Promise<number | null> {
  const [key] = await connection.send([['RANDOMKEY']]);
  return key instanceof Buffer ? slotOf(key) : null;
}

/** @returns null: keys that match can lie in any */
function slotOfPattern(match: string): number | null {
  const [plain] = /^[^*?[\\]*/.exec(match)!;
  return match !== '' && (plain === match || /\{[^}]+\}/.test(plain)) ? slotOf(Buffer.from(plain)) : null;
}

/** As `RedisPort.digestKeys`, of one server. */
export async function digestKeys(
  connection: Connection,
  keys: readonly Buffer[],
  reading = AT_MASTER,
): Promise<PageDigest | RedisFailure> {
  const answer = await runForKey(connection, scripts.digestKeys, [packed(keys.slice(0, fitting(keys)))], reading);
  return 'cells' in answer ? pageDigest(answer.cells) : answer;
}

/** As `RedisPort.absentKeys`, of one server. */
export async function absentKeys(
  connection: Connection,
  keys: readonly Buffer[],
  type = '',
  reading = AT_MASTER,
): Promise<Buffer[] | RedisFailure> {
  const absent: Buffer[] = [];
  for (let rest = keys; rest.length > 0; rest = rest.slice(fitting(rest))) {
    const row = [packed(rest.slice(0, fitting(rest))), type] as const;
    const answer = await runForKey(connection, scripts.absentKeys, row, reading);
    if (!('cells' in answer)) return answer;
    absent.push(...unpacked(answer.cells[0] as Buffer));
  }
  return absent;
}

/** Of keys that travel in one call. More of them would hold the server for as long as it copies. */
const MOST_KEY_BYTES = 256 * 1024;

/** How many of these go in one call, at least one. */
function fitting(keys: readonly Buffer[]): number {
  let bytes = 0;
  const beyond = keys.findIndex(({ length }, index) => {
    bytes += length;
    return index > 0 && bytes > MOST_KEY_BYTES;
  });
  return beyond < 0 ? keys.length : beyond;
}

function pageDigest([digest, expiries, large, count, soonest]: Cells): PageDigest {
  const [said, fieldExpiry] = [String(expiries), Number(soonest)];
  return {
    digest: String(digest),
    expiries: said === '' ? null : said.split(' ').map(Number),
    fieldExpiry: fieldExpiry < 0 ? null : fieldExpiry,
    large: unpacked(large as Buffer),
    count: Number(count),
  };
}
