/** Which commands keymend needs to be allowed to use, as ACL names them. */

/** To start, on both sides, and to see whether a server answers. */
const STARTS: readonly string[] = ['ping'];

/** On both sides. */
export const READS: readonly string[] = [
  ...['evalsha', 'eval', 'role', 'info', 'dbsize', 'time', 'watch', 'multi', 'exec', 'type', 'pexpiretime'],
  ...['getrange', 'strlen', 'dump', 'memory|usage', 'llen', 'lrange', 'scard', 'smembers', 'sscan', 'smismember'],
  ...['hlen', 'hgetall', 'hkeys', 'hscan', 'hmget', 'zcard', 'zrange', 'zscan', 'zmscore', 'xlen', 'xrange'],
  ...[
    'xinfo|stream',
    'xinfo|groups',
    'xinfo|consumers',
    'xpending',
    'pttl',
    'object|encoding',
    'srandmember',
    'hrandfield',
  ],
];

/** Of fields that expire, which Redis has from 7.4 on, and Valkey from 9. */
export const FIELD_READS: readonly string[] = ['hpexpiretime'];
export const FIELD_WRITES: readonly string[] = ['hpexpireat'];
/** An older server does not know them, and is asked for less. */
export const OF_NEWER: readonly string[] = ['pexpiretime', ...FIELD_READS, ...FIELD_WRITES];

/** On the target besides. */
export const WRITES: readonly string[] = [
  ...['exists', 'restore', 'unlink', 'pexpireat', 'pexpire', 'persist', 'rename', 'setrange', 'set', 'rpush'],
  ...['xadd', 'xclaim', 'xdel', 'xtrim', 'xsetid', 'xgroup|create', 'xgroup|createconsumer', 'xgroup|destroy'],
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

/** To find the nodes of a Cluster, those that have moved, and whether it is down. */
export const CLUSTER: readonly string[] = [
  ...['cluster|slots', 'cluster|myid', 'cluster|nodes', 'cluster|info', 'asking', 'readonly'],
];

/** With another database than 0. */
export const DATABASE: readonly string[] = ['select'];

/** Without which it finds another way, or which only servers of other lines are asked. */
export const DISPENSABLE: readonly string[] = [
  ...['memory|usage', 'hgetall', 'smembers', 'pttl', 'object|encoding', 'srandmember', 'hrandfield'],
];

export interface Need {
  /** As the end of a sentence. */
  readonly what: string;
  readonly commands: readonly string[];
  /** keymend is of no use without. */
  readonly isVital: boolean;
  /** Only of Redis 7.4, Valkey 9 and newer; others do not even know the names. */
  readonly isOfFields?: true;
  /** A key or channel that they are needed for, and the pattern of such. Absent: any of ours. */
  readonly on?: { readonly name: string; readonly pattern: string };
}

const TO_START: Need = { what: 'to start', commands: STARTS, isVital: true };
const TO_SWEEP: Need = { what: 'for sweeps', commands: SWEEPS, isVital: false };
const ofFields = (commands: readonly string[]): Need => {
  return { what: 'to repair hashes', commands, isVital: true, isOfFields: true };
};

/** By side, what for. */
export const NEEDS: Readonly<Record<'source' | 'target', readonly Need[]>> = {
  source: [
    TO_START,
    { what: 'to repair keys', commands: READS, isVital: true },
    ofFields(FIELD_READS),
    TO_SWEEP,
    { what: 'for an outbox', commands: OUTBOX, isVital: false },
    { what: 'to count failing keys', commands: FAILING_KEYS, isVital: false },
  ],
  target: [
    TO_START,
    { what: 'to repair keys', commands: [...READS, ...WRITES], isVital: true },
    ofFields([...FIELD_READS, ...FIELD_WRITES]),
    TO_SWEEP,
  ],
};
