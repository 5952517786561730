/**
 * What keymend knows of the write commands of Redis beyond what `@ioredis/commands` tells: a row
 * for each. For a new command: a row here, one in `dual-write/target/planners`, an example in the
 * tests.
 */
import { type Argument, isToken, type StoreOption } from './arguments.js';

/**
 * A row without entries: the command may write all keys that it names, may change anything about
 * them, and leaves another state when it is executed twice.
 */
export interface CommandRow {
  /**
   * Whether it writes with these arguments. Left out: yes (of a `StoreOption`: if that is there).
   */
  readonly writes?: (args: readonly Argument[]) => boolean;
  /** Which of the keys that it names it may write; the others it only reads. Left out: all. */
  readonly keys?: WrittenKeys;
  /**
   * It touches nothing of its key but the members that it names (and may create or remove the key).
   */
  readonly members?: MemberArguments;
  /** It touches nothing of its key but the expiry (and removes the key when that has passed). */
  readonly expiry?: true;
  /** What its second argument is, where that says when a key or a field ends. */
  readonly time?: TimeForm;
  /** Executed twice in a row it leaves the same state as once, whatever its arguments. */
  readonly idempotent?: true;
  /** It may have done a part of its work when it answers with an error, as every script may. */
  readonly failsHalfWay?: true;
}

/**
 * `only`: it names one key, as its first argument, whatever the others are. A `StoreOption`: the
 * key behind STORE.
 */
export type WrittenKeys = 'only' | 'first' | 'last' | StoreOption;

/** Where a command names its members. */
export interface MemberArguments {
  /** The place of the first one behind the command's name. */
  readonly first: number;
  /** From one to the next. */
  readonly step: number;
  /** How many; left out: all to the end. */
  readonly count?: number;
  /** All of it stands behind the options of ZADD, as far as there are any. */
  readonly behindAddOptions?: true;
  /**
   * They stand behind the word FIELDS and their number, from `first` on; each takes `step` words.
   */
  readonly behindFields?: true;
}

/** How a command or an option says when something ends. */
export interface TimeForm {
  readonly unitMs: 1 | 1000;
  /** Since the epoch. Otherwise a time to live, which begins when the command is executed. */
  readonly isAbsolute: boolean;
}

export const IN_SECONDS: TimeForm = { unitMs: 1000, isAbsolute: false };
export const IN_MS: TimeForm = { unitMs: 1, isAbsolute: false };
export const AT_SECONDS: TimeForm = { unitMs: 1000, isAbsolute: true };
export const AT_MS: TimeForm = { unitMs: 1, isAbsolute: true };

const EVERY: MemberArguments = { first: 1, step: 1 };
const FIRST_OF_PAIRS: MemberArguments = { first: 1, step: 2 };
const ONE_FIELD: MemberArguments = { first: 1, step: 1, count: 1 };
const ONE_MEMBER: MemberArguments = { first: 2, step: 1, count: 1 };
/** HGETDEL key [options] FIELDS count field … */
const FIELDS: MemberArguments = { first: 1, step: 1, behindFields: true };
/** HEXPIRE key time [options] FIELDS count field … */
const FIELDS_BEHIND_TIME: MemberArguments = { first: 2, step: 1, behindFields: true };
/** HSETEX key [options] FIELDS count field value … */
const FIELDS_WITH_VALUES: MemberArguments = { first: 1, step: 2, behindFields: true };
/** ZADD key [options] score member … */
const BEHIND_SCORES: MemberArguments = { first: 2, step: 2, behindAddOptions: true };
/** GEOADD key [options] longitude latitude member … */
const BEHIND_COORDINATES: MemberArguments = { first: 3, step: 3, behindAddOptions: true };

const SORT_STORE: StoreOption = { from: 1, words: ['STORE'], skipped: { LIMIT: 2, GET: 1, BY: 1 } };
const GEO_STORE = { words: ['STORE', 'STOREDIST'], skipped: {} } as const;

const isAt = (index: number, token: string) => (args: readonly Argument[]) => isToken(args[index] ?? '', token);
const isNotAt = (index: number, token: string) => (args: readonly Argument[]) => !isToken(args[index] ?? '', token);
const changesBits = (args: readonly Argument[]) =>
  args.some((argument, index) => index > 0 && (isToken(argument, 'SET') || isToken(argument, 'INCRBY')));

/*
 * Why a command is not idempotent stands at its row, where it could be taken for one. Never
 * idempotent are:
 * - relative expiries: the second time moves the expiry;
 * - what takes its value from another key (COPY, RENAME, *STORE, …), which may itself have
 *   diverged;
 * - what Redis 8 brought and nobody has tried here.
 *
 * No members has what chooses them itself (SPOP, ZPOPMIN, ZREMRANGE…).
 */
const ROWS = {
  // Any type
  COPY: { keys: 'last' },
  DEL: { idempotent: true },
  DELEX: { idempotent: true },
  // Of Valkey.
  DELIFEQ: { keys: 'only', idempotent: true },
  EXPIRE: { keys: 'only', expiry: true, time: IN_SECONDS },
  EXPIREAT: { keys: 'only', expiry: true, time: AT_SECONDS, idempotent: true },
  // Key by key: those before one that fails are gone.
  MIGRATE: { failsHalfWay: true },
  MOVE: { idempotent: true },
  PERSIST: { keys: 'only', expiry: true, idempotent: true },
  PEXPIRE: { keys: 'only', expiry: true, time: IN_MS },
  PEXPIREAT: { keys: 'only', expiry: true, time: AT_MS, idempotent: true },
  RENAME: {},
  RENAMENX: {},
  // Its time is relative, unless ABSTTL stands behind it.
  RESTORE: {},
  'RESTORE-ASKING': {},
  SORT: { keys: SORT_STORE },
  UNLINK: { idempotent: true },

  // Strings
  APPEND: { keys: 'only' },
  BITFIELD: { writes: changesBits },
  BITOP: { keys: 'first' },
  DECR: { keys: 'only' },
  DECRBY: { keys: 'only' },
  GETDEL: { keys: 'only', idempotent: true },
  GETEX: { writes: (args) => args.length !== 1, expiry: true },
  GETSET: { keys: 'only', idempotent: true },
  INCR: { keys: 'only' },
  INCRBY: { keys: 'only' },
  INCRBYFLOAT: { keys: 'only' },
  INCREX: {},
  MSET: { idempotent: true },
  MSETEX: {},
  MSETNX: { idempotent: true },
  PSETEX: { keys: 'only', time: IN_MS },
  // Although SET … EX moves the expiry: by no more than the delay, and never the value.
  SET: { keys: 'only', idempotent: true },
  SETBIT: { keys: 'only', idempotent: true },
  SETEX: { keys: 'only', time: IN_SECONDS },
  SETNX: { keys: 'only', idempotent: true },
  SETRANGE: { keys: 'only', idempotent: true },

  // HyperLogLogs
  // With several elements, where the HyperLogLog is broken.
  PFADD: { keys: 'only', idempotent: true, failsHalfWay: true },
  PFDEBUG: {},
  PFMERGE: { keys: 'first' },

  // Lists
  BLMOVE: {},
  BLMOVEM: {},
  BLMPOP: {},
  BLPOP: {},
  BRPOP: {},
  BRPOPLPUSH: {},
  LINSERT: { keys: 'only' },
  LMOVE: {},
  LMOVEM: {},
  LMPOP: {},
  LPOP: { keys: 'only' },
  LPUSH: { keys: 'only' },
  LPUSHX: { keys: 'only' },
  // It may find the element once more.
  LREM: { keys: 'only' },
  LSET: { keys: 'only', idempotent: true },
  // It cuts once more.
  LTRIM: { keys: 'only' },
  RPOP: { keys: 'only' },
  RPOPLPUSH: {},
  RPUSH: { keys: 'only' },
  RPUSHX: { keys: 'only' },

  // Hashes
  HDEL: { keys: 'only', members: EVERY, idempotent: true },
  HEXPIRE: { members: FIELDS_BEHIND_TIME, time: IN_SECONDS },
  HEXPIREAT: { members: FIELDS_BEHIND_TIME, time: AT_SECONDS, idempotent: true },
  HGETDEL: { members: FIELDS, idempotent: true },
  HGETEX: { writes: isNotAt(1, 'FIELDS'), members: FIELDS },
  // The metadata has no flags for what a container of subcommands does.
  HIMPORT: { writes: isAt(0, 'SET') },
  HINCRBY: { keys: 'only', members: ONE_FIELD },
  HINCRBYFLOAT: { keys: 'only', members: ONE_FIELD },
  HMSET: { keys: 'only', members: FIRST_OF_PAIRS, idempotent: true },
  HPERSIST: { members: FIELDS, idempotent: true },
  HPEXPIRE: { members: FIELDS_BEHIND_TIME, time: IN_MS },
  HPEXPIREAT: { members: FIELDS_BEHIND_TIME, time: AT_MS, idempotent: true },
  HSET: { keys: 'only', members: FIRST_OF_PAIRS, idempotent: true },
  HSETEX: { members: FIELDS_WITH_VALUES },
  HSETNX: { keys: 'only', members: ONE_FIELD, idempotent: true },

  // Sets
  SADD: { keys: 'only', members: EVERY, idempotent: true },
  SDIFFSTORE: { keys: 'first' },
  SINTERSTORE: { keys: 'first' },
  SMOVE: { members: ONE_MEMBER, idempotent: true },
  SPOP: { keys: 'only' },
  SREM: { keys: 'only', members: EVERY, idempotent: true },
  SUNIONSTORE: { keys: 'first' },

  // Sorted sets
  BZMPOP: {},
  BZPOPMAX: {},
  BZPOPMIN: {},
  GEOADD: { members: BEHIND_COORDINATES, idempotent: true },
  GEORADIUS: { keys: { from: 5, ...GEO_STORE } },
  GEORADIUSBYMEMBER: { keys: { from: 4, ...GEO_STORE } },
  GEOSEARCHSTORE: { keys: 'first' },
  // It has the option INCR.
  ZADD: { keys: 'only', members: BEHIND_SCORES },
  ZDIFFSTORE: { keys: 'first' },
  ZINCRBY: { keys: 'only', members: ONE_MEMBER },
  ZINTERSTORE: { keys: 'first' },
  ZMPOP: {},
  ZPOPMAX: { keys: 'only' },
  ZPOPMIN: { keys: 'only' },
  ZRANGESTORE: { keys: 'first' },
  ZREM: { keys: 'only', members: EVERY, idempotent: true },
  ZREMRANGEBYLEX: { idempotent: true },
  ZREMRANGEBYRANK: { keys: 'only' },
  ZREMRANGEBYSCORE: { keys: 'only', idempotent: true },
  ZUNIONSTORE: { keys: 'first' },

  // Streams
  XACK: { keys: 'only', idempotent: true },
  XACKDEL: {},
  // A new ID each time.
  XADD: { keys: 'only' },
  XAUTOCLAIM: {},
  XCFGSET: {},
  // It counts deliveries.
  XCLAIM: {},
  XDEL: { keys: 'only', idempotent: true },
  XDELEX: {},
  // A container as HIMPORT is. With `$` it moves on.
  XGROUP: { writes: isNotAt(0, 'HELP') },
  XIDMPRECORD: {},
  XNACK: {},
  // What it delivers is noted in the group.
  XREADGROUP: {},
  XSETID: { idempotent: true },
  // With `~` it stops at a limit, and goes on from there.
  XTRIM: {},

  // Arrays
  ARDEL: {},
  ARDELRANGE: {},
  ARINSERT: {},
  ARMSET: {},
  ARRING: {},
  ARSEEK: {},
  ARSET: {},

  // Vector sets
  VADD: {},
  VREM: {},
  VSETATTR: {},

  // Scripts and functions: the metadata does not flag what runs inside of them.
  EVAL: {},
  EVALSHA: {},
  FCALL: {},

  // Whole databases
  // A container as HIMPORT is; of Valkey.
  CLUSTER: { writes: isAt(0, 'FLUSHSLOT') },
  FLUSHALL: {},
  FLUSHDB: {},
  SWAPDB: {},
  TRIMSLOTS: {},
} satisfies Record<string, CommandRow>;

/**
 * By the command's name in upper case. A command in here may write, whether or not the metadata
 * flags it.
 */
export const TABLE: ReadonlyMap<string, CommandRow> = new Map<string, CommandRow>(Object.entries(ROWS));
