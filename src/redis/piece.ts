/**
 * Hashes and sets that lie in one piece of memory: SCAN answers with all of one whatever COUNT
 * says, and to look up one member the server steps over the others. The cheapest that there is is
 * one plain command for all; what a script does for each member takes five times as long, and is
 * done here.
 */
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Command } from './connection/connection.js';
import { RedisFailure } from './connection/failure.js';
import type { MembersPage } from './key-members.js';
import type { Cells } from './scripts/script.js';

/** As `scan-members.lua` tells of it. */
interface Piece {
  readonly encoding: string;
  readonly members: number;
  readonly bytes: number;
}

/** About 10 ms of one command. */
const MOST_ITEMS = 250_000;
const MOST_BYTES = 4 * 1024 * 1024;
/** Each is looked for among all others, some in a call of 1 ms: so many take 7,000 calls. */
const MOST_LOOKED_UP = 20_000;
/** Between two looks at what else this process has to do. */
const DIGESTS_PER_TURN = 2_000;

const OF_A_SET = sha1('+');

export function pieceIn([, encoding, members, bytes]: Cells): Piece {
  return { encoding: String(encoding), members: Number(members), bytes: Number(bytes) };
}

/**
 * All members of a piece, as one page and the last.
 * @param ask sends a command, which is counted for the budget
 * @returns null when the key is not of that type any more
 */
export async function readPiece(
  ask: (...command: Command) => Promise<unknown>,
  key: Buffer,
  type: string,
  { encoding, members, bytes }: Piece,
): Promise<MembersPage | null | RedisFailure> {
  // A sorted set is read by rank, as long as that is possible.
  if (type === 'zset') return tooLarge();
  if (type === 'set') {
    if (members > MOST_ITEMS || bytes > MOST_BYTES) return tooLarge();
    const all = await ask('SMEMBERS', key);
    if (!Array.isArray(all)) return noPage(all);
    return { cursor: '0', members: all, digests: Buffer.from(OF_A_SET.repeat(all.length)) };
  }
  // Only in such a piece may fields expire, which no command tells of all at once.
  const hasExpiries = encoding === 'listpackex';
  if (!hasExpiries && 2 * members <= MOST_ITEMS && bytes <= MOST_BYTES) {
    const flat = await ask('HGETALL', key);
    return Array.isArray(flat) ? digested(flat) : noPage(flat);
  }
  if (members > MOST_LOOKED_UP) return tooLarge();
  const names = await ask('HKEYS', key);
  return Array.isArray(names) ? { cursor: '0', members: names, digests: null } : noPage(names);
}

async function digested(flat: readonly Buffer[]): Promise<MembersPage> {
  const members: Buffer[] = [];
  const digests: string[] = [];
  for (let at = 0; at < flat.length; at += 2) {
    members.push(flat[at]!);
    digests.push(sha1('+', flat[at + 1]!));
    if (members.length % DIGESTS_PER_TURN === 0) await nextTurn();
  }
  return { cursor: '0', members, digests: Buffer.from(digests.join('')) };
}

/** The type may have changed since the piece was told of. */
function noPage(reply: unknown): RedisFailure | null {
  if (reply instanceof RedisFailure && reply.code !== 'WRONGTYPE') return reply;
  return null;
}

function tooLarge(): RedisFailure {
  return new RedisFailure('ONEPIECE', 'the value lies in one piece that is too large');
}

function sha1(...parts: readonly (Buffer | string)[]): string {
  const hash = createHash('sha1');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}
