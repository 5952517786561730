/** Which commands keymend needs to be allowed to use, as ACL names them. */

/** To start, on both sides, and to see whether a server answers. */
const STARTS: readonly string[] = ['ping'];

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

/** For a sweep, on both sides. */
const SWEEPS: readonly string[] = ['scan', 'exists', 'randomkey'];

/** For the streams of an outbox and of its dead letters, on the source. */
const OUTBOX: readonly string[] = [
  ...['exists', 'rename', 'xadd', 'xreadgroup', 'xautoclaim', 'xclaim', 'xack', 'xdel', 'xrevrange', 'xtrim'],
  ...['xgroup|create', 'xgroup|delconsumer', 'zscore', 'zadd', 'zremrangebyrank', 'expire'],
];

/** To count which keys fail, on the source. */
const FAILING_KEYS: readonly string[] = ['pfadd', 'pfcount', 'pexpireat'];

/** To find the nodes of a Cluster, and those that have moved. */
export const CLUSTER: readonly string[] = ['cluster|slots', 'cluster|myid', 'asking', 'readonly'];

/** With another database than 0. */
export const DATABASE: readonly string[] = ['select'];

/** Without which it finds another way, or which only servers of other lines are asked. */
export const DISPENSABLE: readonly string[] = ['memory|usage', 'hgetall', 'smembers'];

interface Need {
  /** As the end of a sentence. */
  readonly what: string;
  readonly commands: readonly string[];
  /** keymend is of no use without. */
  readonly isVital: boolean;
}

const TO_START: Need = { what: 'to start', commands: STARTS, isVital: true };
const TO_SWEEP: Need = { what: 'for sweeps', commands: SWEEPS, isVital: false };

/** By side, what for. */
export const NEEDS: Readonly<Record<'source' | 'target', readonly Need[]>> = {
  source: [
    TO_START,
    { what: 'to repair keys', commands: READS, isVital: true },
    TO_SWEEP,
    { what: 'for an outbox', commands: OUTBOX, isVital: false },
    { what: 'to count failing keys', commands: FAILING_KEYS, isVital: false },
  ],
  target: [TO_START, { what: 'to repair keys', commands: [...READS, ...WRITES], isVital: true }, TO_SWEEP],
};
