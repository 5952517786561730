/** What the name of a command says about it. Names are taken in any case. */
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
