/** Which commands keymend needs to be allowed to use, as ACL names them. */

/** On both sides. */
export const READS: readonly string[] = [
  ...['evalsha', 'eval', 'role', 'info', 'dbsize', 'time', 'watch', 'multi', 'exec', 'type', 'pexpiretime'],
  ...['getrange', 'strlen', 'dump', 'memory|usage', 'llen', 'lrange', 'scard', 'smembers', 'sscan', 'smismember'],
  ...['hlen', 'hgetall', 'hscan', 'hmget', 'zcard', 'zrange', 'zscan', 'zmscore', 'xlen', 'xrange', 'xinfo|stream'],
  ...['xinfo|groups', 'xinfo|consumers', 'xpending'],
];

/** On the target besides. */
export const WRITES: readonly string[] = [
  ...['exists', 'restore', 'unlink', 'pexpireat', 'pexpire', 'persist', 'rename', 'setrange', 'set', 'rpush'],
  ...['xadd', 'xclaim', 'xsetid', 'xgroup|create', 'xgroup|createconsumer', 'xgroup|destroy'],
  ...['hset', 'hdel', 'sadd', 'srem', 'zadd', 'zrem'],
];

/** Without which it finds another way, or which only servers of other lines are asked. */
export const DISPENSABLE: readonly string[] = ['memory|usage', 'hgetall', 'smembers'];
