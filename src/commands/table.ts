/** What a command says about what it writes: one table for the engine, the bridge and the dual writer. Names in any case. */
import { getKeyIndexes, hasFlag, list } from '@ioredis/commands';

/** An argument of a Redis command: text or raw bytes. */
type Argument = string | Buffer;

/** `exists` of the metadata also says yes to what every object has, such as `constructor`. */
const KNOWN: ReadonlySet<string> = new Set(list);

/**
 * Writes that leave the same state when they are executed twice in a row, whatever their arguments.
 *
 * Not in here, though it often would hold: relative expiries (EXPIRE, SETEX, GETEX, RESTORE, …: the second moves the expiry),
 * ZADD (has INCR), LTRIM, LREM and XTRIM (cut once more; XTRIM ~ stops at a limit), what takes its value from another key that
 * may itself have diverged (COPY, RENAME, *STORE, BITOP, PFMERGE), XADD (new id), XCLAIM (counts deliveries), XGROUP ($ moves
 * on), and of Redis 8 all that is not tried here.
 * SET is in here although SET … EX moves the expiry: by no more than the delay, and never the value.
 */
const IDEMPOTENT: ReadonlySet<string> = new Set([
  // any type
  ...['del', 'expireat', 'move', 'persist', 'pexpireat', 'unlink'],
  // string
  ...['delex', 'getdel', 'getset', 'mset', 'msetnx', 'set', 'setbit', 'setnx', 'setrange'],
  // hash
  ...['hdel', 'hexpireat', 'hgetdel', 'hmset', 'hpersist', 'hpexpireat', 'hset', 'hsetnx'],
  // list
  'lset',
  // set
  ...['sadd', 'smove', 'srem'],
  // sorted set
  ...['geoadd', 'zrem', 'zremrangebylex', 'zremrangebyscore'],
  // stream
  ...['xack', 'xdel', 'xsetid'],
  // HyperLogLog
  'pfadd',
]);

/** Writes that only read all the keys they name but one: the first, or the last. */
const WRITES_ONE_KEY: Readonly<Record<string, 'first' | 'last'>> = {
  bitop: 'first',
  copy: 'last',
  geosearchstore: 'first',
  pfmerge: 'first',
  sdiffstore: 'first',
  sinterstore: 'first',
  sunionstore: 'first',
  zdiffstore: 'first',
  zinterstore: 'first',
  zrangestore: 'first',
  zunionstore: 'first',
};

/** Writes only with STORE, into the key behind it; where their options begin. */
const STORE_OPTION: Readonly<Record<string, number>> = { sort: 1, georadius: 5, georadiusbymember: 4 };
/** Options of these that stand before a name, which may itself read STORE, and how much stands behind them. */
const SKIPPED: Readonly<Record<string, number>> = { LIMIT: 2, GET: 1, BY: 1 };

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
/** HGETDEL key FIELDS count field … */
const BEHIND_COUNT: Place = { first: 3, step: 1 };
/** Members stand behind conditions such as NX or GT, each with so many arguments in front of it. */
const BEHIND_CONDITIONS: ReadonlyMap<string, number> = new Map(Object.entries({ zadd: 2, geoadd: 3 }));

/**
 * Writes that touch nothing of their key but the members they name (and may create or remove it). Not in here: what chooses its
 * members itself (SPOP, ZPOPMIN, ZREMRANGE…), and what gives fields an expiry of their own (HEXPIRE, HPERSIST, HGETEX, HSETEX):
 * where their fields stand depends on their options, and they are rare enough for a look at the whole key.
 */
const MEMBERS: ReadonlyMap<string, Place> = new Map(
  Object.entries({
    sadd: EVERY,
    srem: EVERY,
    zrem: EVERY,
    hdel: EVERY,
    hgetdel: BEHIND_COUNT,
    hset: FIRST_OF_PAIRS,
    hmset: FIRST_OF_PAIRS,
    hsetnx: ONE_FIELD,
    hincrby: ONE_FIELD,
    hincrbyfloat: ONE_FIELD,
    zincrby: ONE_MEMBER,
    smove: ONE_MEMBER,
  }),
);

/** Writes that touch only the expiry of their key (and remove it when that has passed). */
const EXPIRY: ReadonlySet<string> = new Set(['expire', 'expireat', 'getex', 'pexpire', 'pexpireat', 'persist']);

const CONDITIONS: ReadonlySet<string> = new Set(['NX', 'XX', 'GT', 'LT', 'CH', 'INCR']);

/** Writes that the metadata does not flag: it describes containers and scripts, not what runs inside them. */
const UNFLAGGED_WRITES: ReadonlySet<string> = new Set(['eval', 'evalsha', 'fcall', 'himport', 'xgroup']);

/** Writes that write nothing with certain arguments. */
const WRITES_NOTHING: Readonly<Record<string, (args: readonly Argument[]) => boolean>> = {
  bitfield: (args) =>
    !args.some((argument, index) => index > 0 && (isToken(argument, 'SET') || isToken(argument, 'INCRBY'))),
  georadius: (args) => storeKey('georadius', args) === undefined,
  georadiusbymember: (args) => storeKey('georadiusbymember', args) === undefined,
  getex: (args) => args.length === 1,
  hgetex: (args) => isToken(args[1] ?? '', 'FIELDS'),
  himport: (args) => !isToken(args[0] ?? '', 'SET'),
  sort: (args) => storeKey('sort', args) === undefined,
  xgroup: (args) => isToken(args[0] ?? '', 'HELP'),
};

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
 * @param args what stands behind the command's name; without them: whether it may with any
 * @example isWrite('HSET') // true
 * @example isWrite('HGETALL') // false
 * @example isWrite('SORT', ['list', 'DESC']) // false
 */
export function isWrite(command: string, args?: readonly Argument[]): boolean {
  const name = command.toLowerCase();
  if (!KNOWN.has(name)) return true;
  if (!hasFlag(name, 'write') && !UNFLAGGED_WRITES.has(name)) return false;
  return args === undefined || !WRITES_NOTHING[name]?.(args);
}

/**
 * The raw bytes of every key that a write may change, each once, in the order named; not those that it only reads. Of scripts and
 * functions: the declared keys.
 * @param args what stands behind the command's name
 * @returns empty when the command is unknown, names no key (FLUSHALL) or writes nothing with these arguments
 * @example writtenKeys('SUNIONSTORE', ['to', 'from', 'and']) // [Buffer.from('to')]
 */
export function writtenKeys(command: string, args: readonly Argument[]): Buffer[] {
  const name = command.toLowerCase();
  if (!KNOWN.has(name) || !isWrite(name, args)) return [];
  if (name in STORE_OPTION) return [toBytes(storeKey(name, args)!)];
  // Of MIGRATE the metadata understands text alone.
  const named = getKeyIndexes(name, name === 'migrate' ? args.map(String) : [...args])
    .map((index) => args[index])
    .filter((key) => key !== undefined);
  const only = WRITES_ONE_KEY[name];
  return unique(only === undefined ? named : named.slice(...(only === 'first' ? [0, 1] : [-1])));
}

/**
 * Which part of a key the command can change at most. Unknown: `whole`.
 * @example touches('HSET') // 'members'
 */
export function touches(command: string): 'whole' | 'members' | 'expiry' {
  const name = command.toLowerCase();
  if (MEMBERS.has(name) || BEHIND_CONDITIONS.has(name)) return 'members';
  return EXPIRY.has(name) ? 'expiry' : 'whole';
}

/**
 * The raw bytes of the members that a write touches in each of the keys it writes, each once.
 * @param args what stands behind the command's name
 * @returns undefined when the command touches more than named members, or is not known to touch less
 */
export function membersOf(command: string, args: readonly Argument[]): Buffer[] | undefined {
  const name = command.toLowerCase();
  const place = MEMBERS.get(name) ?? placeBehindConditions(name, args);
  if (place === undefined) return undefined;
  const members: Argument[] = [];
  for (let index = place.first; index < args.length; index += place.step) {
    if (members.length === place.count) break;
    members.push(args[index]!);
  }
  return unique(members);
}

/** Whether an argument is the given option word, which Redis takes in any case. */
export function isToken(argument: Argument, token: string): boolean {
  return argument.length === token.length && argument.toString().toUpperCase() === token;
}

/** The last one counts, as for Redis. */
function storeKey(name: string, args: readonly Argument[]): Argument | undefined {
  let key: Argument | undefined;
  for (let index = STORE_OPTION[name]!; index < args.length - 1; index++) {
    const word = args[index]!.toString().toUpperCase();
    if (word === 'STORE' || (word === 'STOREDIST' && name !== 'sort')) {
      index += 1;
      key = args[index];
    } else if (name === 'sort') index += SKIPPED[word] ?? 0;
  }
  return key;
}

function unique(list: readonly Argument[]): Buffer[] {
  return [...new Map(list.map(toBytes).map((bytes) => [bytes.toString('latin1'), bytes])).values()];
}

/** A copy of the argument's bytes. */
export function toBytes(argument: Argument): Buffer {
  return typeof argument === 'string' ? Buffer.from(argument) : Buffer.from(argument);
}

/** ZADD key [conditions] score member …, GEOADD key [conditions] longitude latitude member … */
function placeBehindConditions(name: string, args: readonly Argument[]): Place | undefined {
  const step = BEHIND_CONDITIONS.get(name);
  if (step === undefined) return undefined;
  let first = 1;
  while (CONDITIONS.has(args[first]?.toString().toUpperCase() ?? '')) first += 1;
  return { first: first + step - 1, step };
}
