/** For each write command, what the target is sent. A command that is not in here is recorded. */
import { addOptionsOf } from '../../../commands/arguments.js';
import { membersOf, writtenKeys } from '../../../commands/command.js';
import { NOTHING, record, replay } from '../replay.js';
import {
  planExpire,
  planExpireFields,
  planFieldsUntil,
  planGetAndDeleteFields,
  planGetEx,
  planPersistFields,
  planRestore,
  planSet,
  planSetMany,
  planSetUntil,
} from './expiries.js';
import { asItIs, type Planner, proved, recorded, unlessIdle } from './planner.js';
import {
  popBlocking,
  popOfSeveral,
  popRandom,
  popScored,
  popScoredBlocking,
  popScoredOfSeveral,
  withoutBlocking,
} from './pops.js';
import { planStreamAppend, planStreamGroup } from './streams.js';

const OTHER_KEYS = 'makes a value of other keys, which may differ on the target';
const BY_ORDER = 'chooses members by their order, which may differ on the target';
const script = recorded('can do something else on the target');
const momentary = recorded('depends on the moment it runs');

/** The key of the result is written anew, or removed when the result is empty. */
const stored: Planner = ({ command, args, reply }) =>
  String(reply) === '0' ? replay('DEL', writtenKeys(command, args)) : record(`${command} ${OTHER_KEYS}`);

/** By its result: each server rounds in its own way. */
const planIncrementByFloat: Planner = ({ args, reply }) => replay('SET', [args[0]!, reply as Buffer, 'KEEPTTL']);

/**
 * A trim that keeps the first or the last so many elements finds nothing to do when it is done
 * again. Any other would cut once more where a repair has brought its effect already, and the
 * answer would not tell.
 */
const planListTrim: Planner = (accepted) => {
  const [start, stop] = accepted.args.slice(1).map(Number) as [number, number];
  const keepsFirst = start === 0 && stop >= 0;
  const keepsLast = start < 0 && stop === -1;
  return keepsFirst || keepsLast ? asItIs(accepted) : record('LTRIM removes elements by their position');
};

/**
 * ZADD and GEOADD. The reply counts the members that were added, with CH also those that were
 * changed; only when it says all or none is it known which.
 */
const planAddScored =
  (partsPerMember: 2 | 3): Planner =>
  (accepted) => {
    const { command, args, reply } = accepted;
    const options = addOptionsOf(args);
    if (options.includes('INCR')) {
      return reply === null ? NOTHING : replay('ZADD', [args[0]!, String(reply), args.at(-1)!]);
    }
    if (!['NX', 'XX', 'GT', 'LT'].some((condition) => options.includes(condition))) return asItIs(accepted);
    if (Number(reply) === 0 && (options.includes('NX') || options.includes('CH'))) return NOTHING;
    const all = (args.length - 1 - options.length) / partsPerMember;
    const distinct = membersOf(command, args)!.length;
    if (Number(reply) === all && all === distinct) return replay(command, args.toSpliced(1, options.length));
    return record(`${command} with a condition does not tell which members it changed; with CH and one member it does`);
  };

export const PLANNERS: ReadonlyMap<string, Planner> = new Map(
  Object.entries({
    // Any type
    DEL: asItIs,
    UNLINK: asItIs,
    DELIFEQ: unlessIdle(({ args }) => replay('DEL', [args[0]!], { idle: false })),
    DELEX: unlessIdle(({ args }) => replay('DEL', [args[0]!], { idle: false })),
    PERSIST: asItIs,
    EXPIRE: planExpire,
    PEXPIRE: planExpire,
    EXPIREAT: planExpire,
    PEXPIREAT: planExpire,
    COPY: unlessIdle(recorded(OTHER_KEYS)),
    RENAME: recorded(OTHER_KEYS),
    RENAMENX: unlessIdle(recorded(OTHER_KEYS)),
    SORT: stored,
    RESTORE: planRestore,
    MIGRATE: ({ reply }) => (String(reply) === 'NOKEY' ? NOTHING : record('MIGRATE concerns the source alone')),
    // Strings
    SET: planSet,
    SETNX: unlessIdle(({ args }) => replay('SET', args, { idle: false })),
    GETSET: ({ args }) => replay('SET', args, { idle: false }),
    SETEX: planSetUntil,
    PSETEX: planSetUntil,
    MSET: asItIs,
    MSETNX: unlessIdle(({ args }) => replay('MSET', args, { idle: false })),
    MSETEX: unlessIdle(planSetMany),
    GETEX: planGetEx,
    GETDEL: ({ args, reply }) => replay('DEL', args, { idle: reply === null }),
    APPEND: asItIs,
    INCR: asItIs,
    DECR: asItIs,
    INCRBY: asItIs,
    DECRBY: asItIs,
    INCRBYFLOAT: planIncrementByFloat,
    SETRANGE: asItIs,
    SETBIT: asItIs,
    BITFIELD: asItIs,
    BITOP: stored,
    PFADD: asItIs,
    PFMERGE: recorded(OTHER_KEYS),
    // Lists
    LPUSH: asItIs,
    RPUSH: asItIs,
    // With their condition: without a list on the target there is none to push to.
    LPUSHX: unlessIdle(asItIs),
    RPUSHX: unlessIdle(asItIs),
    LINSERT: unlessIdle(asItIs),
    LSET: asItIs,
    LREM: asItIs,
    LTRIM: planListTrim,
    LPOP: proved,
    RPOP: proved,
    BLPOP: unlessIdle(popBlocking('LPOP')),
    BRPOP: unlessIdle(popBlocking('RPOP')),
    LMPOP: unlessIdle(popOfSeveral(0)),
    BLMPOP: unlessIdle(popOfSeveral(1)),
    LMOVE: proved,
    RPOPLPUSH: proved,
    BLMOVE: withoutBlocking('LMOVE'),
    BRPOPLPUSH: withoutBlocking('RPOPLPUSH'),
    // Hashes
    HSET: asItIs,
    HMSET: asItIs,
    HSETNX: unlessIdle(({ args }) => replay('HSET', args)),
    HDEL: asItIs,
    HINCRBY: asItIs,
    // Not by HSET of its result, which would end the expiry that the field may have of its own.
    HINCRBYFLOAT: ({ command, args, reply }) => replay(command, args, { reply }),
    HEXPIRE: planExpireFields,
    HPEXPIRE: planExpireFields,
    HEXPIREAT: planExpireFields,
    HPEXPIREAT: planExpireFields,
    HPERSIST: planPersistFields,
    HGETEX: planFieldsUntil,
    HSETEX: unlessIdle(planFieldsUntil),
    HGETDEL: planGetAndDeleteFields,
    // Sets
    SADD: asItIs,
    SREM: asItIs,
    SMOVE: unlessIdle(asItIs),
    SPOP: unlessIdle(popRandom),
    SDIFFSTORE: stored,
    SINTERSTORE: stored,
    SUNIONSTORE: stored,
    // Sorted sets
    ZADD: planAddScored(2),
    GEOADD: planAddScored(3),
    ZINCRBY: ({ args, reply }) => replay('ZADD', [args[0]!, String(reply), args[2]!]),
    ZREM: asItIs,
    ZREMRANGEBYSCORE: asItIs,
    ZREMRANGEBYRANK: unlessIdle(recorded(BY_ORDER)),
    ZREMRANGEBYLEX: unlessIdle(recorded(BY_ORDER)),
    ZPOPMIN: unlessIdle(popScored),
    ZPOPMAX: unlessIdle(popScored),
    BZPOPMIN: unlessIdle(popScoredBlocking),
    BZPOPMAX: unlessIdle(popScoredBlocking),
    ZMPOP: unlessIdle(popScoredOfSeveral),
    BZMPOP: unlessIdle(popScoredOfSeveral),
    ZDIFFSTORE: stored,
    ZINTERSTORE: stored,
    ZUNIONSTORE: stored,
    ZRANGESTORE: stored,
    GEOSEARCHSTORE: stored,
    GEORADIUS: stored,
    GEORADIUSBYMEMBER: stored,
    // Streams
    XADD: unlessIdle(planStreamAppend),
    XDEL: asItIs,
    // How much it trims approximately depends on how the stream is laid out in memory.
    XTRIM: ({ command, args, reply }) => replay(command, args, { reply }),
    XSETID: asItIs,
    XACK: asItIs,
    XGROUP: planStreamGroup,
    XREADGROUP: unlessIdle(momentary),
    // Also where it claims nothing: it takes from the group what the stream no longer has.
    XCLAIM: momentary,
    XAUTOCLAIM: momentary,
    // Scripts and functions
    EVAL: script,
    EVALSHA: script,
    FCALL: script,
  } satisfies Record<string, Planner>),
);
