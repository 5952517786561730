/** What a command says about what it writes: one table for the engine, the bridge and the dual writer. Names in any case. */
import { exists, hasFlag } from '@ioredis/commands';

/**
 * Writes that leave the same state when they are executed twice, or land once more after a repair, whatever their
 * arguments.
 *
 * Not in here, though it often would hold: relative expiries (EXPIRE, SETEX, GETEX, …: the second moves the expiry),
 * ZADD (has INCR), LTRIM and LREM (cut once more), what takes its value from another key that may itself have diverged
 * (COPY, RENAME, *STORE, BITOP, PFMERGE), XADD (new id), XCLAIM (counts deliveries), XGROUP ($ moves on).
 * SET is in here although SET … EX moves the expiry: by no more than the delay, and never the value.
 */
const IDEMPOTENT: ReadonlySet<string> = new Set([
  // any type
  ...['del', 'expireat', 'move', 'persist', 'pexpireat', 'unlink'],
  // string
  ...['getdel', 'getset', 'mset', 'msetnx', 'set', 'setbit', 'setnx', 'setrange'],
  // hash
  ...['hdel', 'hexpireat', 'hgetdel', 'hmset', 'hpersist', 'hpexpireat', 'hset', 'hsetnx'],
  // list
  'lset',
  // set
  ...['sadd', 'smove', 'srem'],
  // sorted set
  ...['geoadd', 'zrem', 'zremrangebylex', 'zremrangebyscore'],
  // stream
  ...['xack', 'xdel', 'xsetid', 'xtrim'],
  // HyperLogLog
  'pfadd',
]);

/** Where a command names its members: every `step`-th argument behind the command's name from `first` on, `count` of them. */
interface Place {
  readonly first: number;
  readonly step: number;
  readonly count?: number;
}

const EVERY: Place = { first: 1, step: 1 };
const FIRST_OF_PAIRS: Place = { first: 1, step: 2 };
const ONE_FIELD: Place = { first: 1, step: 1, count: 1 };
const ONE_MEMBER: Place = { first: 2, step: 1, count: 1 };
/** Members stand behind conditions such as NX or GT, each with so many arguments in front of it. */
const BEHIND_CONDITIONS = { zadd: 2, geoadd: 3 } as const;

/**
 * Writes that touch nothing of their key but the members they name (and may create or remove it). Not in here: what chooses its
 * members itself (SPOP, ZPOPMIN, ZREMRANGE…), and fields with an expiry of their own (HEXPIRE, HGETEX, HSETEX).
 */
const MEMBERS: Readonly<Record<string, Place>> = {
  sadd: EVERY,
  srem: EVERY,
  zrem: EVERY,
  hdel: EVERY,
  hset: FIRST_OF_PAIRS,
  hmset: FIRST_OF_PAIRS,
  hsetnx: ONE_FIELD,
  hincrby: ONE_FIELD,
  hincrbyfloat: ONE_FIELD,
  zincrby: ONE_MEMBER,
  smove: ONE_MEMBER,
};

/** Writes that touch only the expiry of their key (and remove it when that has passed). */
const EXPIRY: ReadonlySet<string> = new Set(['expire', 'expireat', 'pexpire', 'pexpireat', 'persist']);

const CONDITIONS: ReadonlySet<string> = new Set(['NX', 'XX', 'GT', 'LT', 'CH', 'INCR']);

/** Writes that the metadata does not flag: it describes containers and scripts, not what runs inside them. */
const UNFLAGGED_WRITES: ReadonlySet<string> = new Set(['eval', 'evalsha', 'fcall', 'xgroup']);

/**
 * Whether sending the command twice leaves the same state as sending it once, whatever its arguments. Unknown: false.
 * @example isIdempotent('SADD') // true
 * @example isIdempotent('INCR') // false
 */
export function isIdempotent(command: string): boolean {
  return IDEMPOTENT.has(command.toLowerCase());
}

/**
 * Whether the command may change keys. A command nobody knows may: a needless repair is better than a lost write.
 * @example isWrite('HSET') // true
 * @example isWrite('HGETALL') // false
 */
export function isWrite(command: string): boolean {
  const name = command.toLowerCase();
  return !exists(name) || hasFlag(name, 'write') || UNFLAGGED_WRITES.has(name);
}

/**
 * Which part of a key the command can change at most. Unknown: `whole`.
 * @example touches('HSET') // 'members'
 */
export function touches(command: string): 'whole' | 'members' | 'expiry' {
  const name = command.toLowerCase();
  if (name in MEMBERS || name in BEHIND_CONDITIONS) return 'members';
  return EXPIRY.has(name) ? 'expiry' : 'whole';
}

/**
 * The raw bytes of the members that a write touches in each of its keys.
 * @param args what stands behind the command's name
 * @returns undefined when the command touches more than named members, or is not known to touch less
 */
export function membersOf(command: string, args: readonly (string | Buffer)[]): Buffer[] | undefined {
  const name = command.toLowerCase();
  const place = MEMBERS[name] ?? placeBehindConditions(name, args);
  if (place === undefined) return undefined;
  const members: Buffer[] = [];
  for (let index = place.first; index < args.length; index += place.step) {
    if (members.length === place.count) break;
    members.push(Buffer.from(args[index] as Buffer));
  }
  return members;
}

/** ZADD key [conditions] score member …, GEOADD key [conditions] longitude latitude member … */
function placeBehindConditions(name: string, args: readonly (string | Buffer)[]): Place | undefined {
  const step = BEHIND_CONDITIONS[name as keyof typeof BEHIND_CONDITIONS];
  if (step === undefined) return undefined;
  let first = 1;
  while (CONDITIONS.has(args[first]?.toString().toUpperCase() ?? '')) first += 1;
  return { first: first + step - 1, step };
}
