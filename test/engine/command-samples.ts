/**
 * For every write command of Redis 7 and 8: one example, what it may write, and whether twice is
 * the same as once.
 */

export interface Sample {
  /** `$DUMP`: a serialised string; `$PORT`: of another server; `$SHA`: of the script `SCRIPT`. */
  readonly line: string;
  /** The keys it may change. */
  readonly keys: readonly string[];
  readonly part: 'whole' | 'members' | 'expiry';
  /** The members it may change in each of its keys. */
  readonly members?: readonly string[];
  readonly idempotent: boolean;
}

export const SCRIPT = "redis.call('SET',KEYS[1],ARGV[1])";

/** What the examples find, as commands. All keys expire in an hour. */
export const FIXTURE = [
  'SET s hello',
  'SET n 10',
  'RPUSH l a b c a b',
  'RPUSH l2 x y',
  'SADD set a b c',
  'SADD set2 b c d',
  'HSET h f 1 n 5 t x',
  'ZADD z 1 a 2 b 3 c',
  'ZADD z2 2 b 5 d',
  'ZADD lex 0 a 0 b 0 c',
  'GEOADD g 13.36 38.11 palermo 15.08 37.5 catania',
  'PFADD hll a b',
  'PFADD hll2 c d',
  'XADD st 1-1 f v',
  'XADD st 1-2 f v',
  'XADD st 1-3 f v',
  'XGROUP CREATE st grp 0',
  'XREADGROUP GROUP grp con COUNT 2 STREAMS st >',
] as const;

function whole(line: string, keys: string): Sample {
  return { line, keys: keys.split(' '), part: 'whole', idempotent: false };
}
function members(line: string, keys: string, names: string): Sample {
  return { ...whole(line, keys), part: 'members', members: names.split(' ') };
}
function expiry(line: string, keys: string): Sample {
  return { ...whole(line, keys), part: 'expiry' };
}
function twice(sample: Sample): Sample {
  return { ...sample, idempotent: true };
}

export const SAMPLES: readonly Sample[] = [
  // Any type
  whole('COPY s new', 'new'),
  whole('COPY s n REPLACE', 'n'),
  twice(whole('DEL s l none', 's l none')),
  twice(whole('DELEX s IFEQ hello', 's')),
  twice(whole('DELIFEQ s hello', 's')),
  twice(whole('UNLINK s l', 's l')),
  expiry('EXPIRE s 100', 's'),
  expiry('EXPIRE s -1', 's'),
  expiry('PEXPIRE h 100000 LT', 'h'),
  twice(expiry('EXPIREAT s 4000000000', 's')),
  twice(expiry('PEXPIREAT z 4000000000000 GT', 'z')),
  twice(expiry('PERSIST s', 's')),
  whole('MIGRATE 127.0.0.1 $PORT s 0 5000', 's'),
  twice(whole('MOVE s 1', 's')),
  whole('RENAME s n', 's n'),
  whole('RENAMENX s new', 's new'),
  whole('RESTORE new 0 $DUMP', 'new'),
  whole('RESTORE-ASKING new 0 $DUMP', 'new'),
  whole('SORT set BY nosort ALPHA LIMIT 0 5 STORE new', 'new'),
  whole('SORT l BY STORE GET # ALPHA STORE l2', 'l2'),
  // Strings
  whole('APPEND s x', 's'),
  whole('BITFIELD s SET u8 0 1', 's'),
  whole('BITOP AND new s n', 'new'),
  whole('BITOP NOT s n', 's'),
  whole('DECR n', 'n'),
  whole('DECRBY n 2', 'n'),
  twice(whole('GETDEL s', 's')),
  expiry('GETEX s EX 100', 's'),
  expiry('GETEX s PERSIST', 's'),
  twice(whole('GETSET s x', 's')),
  whole('INCR n', 'n'),
  whole('INCRBY n 2', 'n'),
  whole('INCRBYFLOAT n 0.1', 'n'),
  whole('INCREX n BYINT 1', 'n'),
  twice(whole('MSET s 1 new 2 s 3', 's new')),
  whole('MSETEX 2 s 1 new 2 EX 100', 's new'),
  twice(whole('MSETNX new 1 more 2', 'new more')),
  whole('PSETEX s 100000 x', 's'),
  twice(whole('SET s x', 's')),
  twice(whole('SET new x NX GET', 'new')),
  twice(whole('SETBIT s 1 0', 's')),
  whole('SETEX s 100 x', 's'),
  twice(whole('SETNX new x', 'new')),
  twice(whole('SETRANGE s 2 xx', 's')),
  // HyperLogLog
  twice(whole('PFADD hll x y', 'hll')),
  whole('PFDEBUG TODENSE hll', 'hll'),
  whole('PFMERGE hll hll2', 'hll'),
  // Lists
  whole('BLMOVE l l2 LEFT RIGHT 0', 'l l2'),
  whole('BLMOVEM l l2 LEFT RIGHT 0', 'l l2'),
  whole('BLMPOP 0 2 none l LEFT', 'none l'),
  whole('BLPOP none l 0', 'none l'),
  whole('BRPOP l 0', 'l'),
  whole('BRPOPLPUSH l l2 0', 'l l2'),
  whole('LINSERT l BEFORE b x', 'l'),
  whole('LMOVE l new LEFT RIGHT', 'l new'),
  whole('LMOVEM l l2 LEFT RIGHT', 'l l2'),
  whole('LMPOP 2 l l2 RIGHT COUNT 2', 'l l2'),
  whole('LPOP l', 'l'),
  whole('LPUSH l x', 'l'),
  whole('LPUSHX l x', 'l'),
  whole('LREM l 1 a', 'l'),
  twice(whole('LSET l 0 x', 'l')),
  whole('LTRIM l 1 3', 'l'),
  whole('RPOP l 2', 'l'),
  whole('RPOPLPUSH l l2', 'l l2'),
  whole('RPUSH l x', 'l'),
  whole('RPUSHX l x', 'l'),
  // Hashes
  twice(members('HDEL h f n', 'h', 'f n')),
  members('HEXPIRE h 100 NX FIELDS 1 f', 'h', 'f'),
  twice(members('HEXPIREAT h 4000000000 FIELDS 2 f n', 'h', 'f n')),
  twice(members('HGETDEL h FIELDS 2 f n', 'h', 'f n')),
  members('HGETEX h EX 100 FIELDS 1 f', 'h', 'f'),
  whole('HIMPORT SET h fieldset v', 'h'),
  members('HINCRBY h n 1', 'h', 'n'),
  members('HINCRBYFLOAT h n 0.1', 'h', 'n'),
  twice(members('HMSET h f x new y', 'h', 'f new')),
  twice(members('HPERSIST h FIELDS 1 t', 'h', 't')),
  members('HPEXPIRE h 100000 FIELDS 1 f', 'h', 'f'),
  twice(members('HPEXPIREAT h 4000000000000 GT FIELDS 1 t', 'h', 't')),
  twice(members('HSET h f x new y f z', 'h', 'f new')),
  members('HSETEX h FXX EX 100 FIELDS 2 f x n y', 'h', 'f n'),
  twice(members('HSETNX h new x', 'h', 'new')),
  // Sets
  twice(members('SADD set a x y', 'set', 'a x y')),
  whole('SDIFFSTORE new set set2', 'new'),
  whole('SINTERSTORE set set2 set', 'set'),
  twice(members('SMOVE set set2 a', 'set set2', 'a')),
  whole('SPOP set', 'set'),
  twice(members('SREM set a x', 'set', 'a x')),
  whole('SUNIONSTORE new set set2', 'new'),
  // Sorted sets
  whole('BZMPOP 0 2 none z MIN', 'none z'),
  whole('BZPOPMAX none z 0', 'none z'),
  whole('BZPOPMIN z 0', 'z'),
  members('ZADD z 5 a 6 x', 'z', 'a x'),
  members('ZADD z XX GT CH 5 a', 'z', 'a'),
  members('ZADD z NX INCR 5 x', 'z', 'x'),
  whole('ZDIFFSTORE new 2 z z2', 'new'),
  members('ZINCRBY z 1.5 a', 'z', 'a'),
  whole('ZINTERSTORE new 2 z z2', 'new'),
  whole('ZMPOP 2 none z MAX COUNT 2', 'none z'),
  whole('ZPOPMAX z', 'z'),
  whole('ZPOPMIN z 2', 'z'),
  whole('ZRANGESTORE new z 0 1', 'new'),
  twice(members('ZREM z a x', 'z', 'a x')),
  twice(whole('ZREMRANGEBYLEX lex [a [b', 'lex')),
  whole('ZREMRANGEBYRANK z 0 0', 'z'),
  twice(whole('ZREMRANGEBYSCORE z 1 2', 'z')),
  whole('ZUNIONSTORE new 2 z z2 WEIGHTS 1 2', 'new'),
  // Places
  twice(members('GEOADD g 1 2 x', 'g', 'x')),
  twice(members('GEOADD g XX CH 1 2 palermo 3 4 catania', 'g', 'palermo catania')),
  whole('GEORADIUS g 15 37 200 km STORE new', 'new'),
  whole('GEORADIUS g 15 37 200 km ASC COUNT 1 STORE set STOREDIST new', 'new'),
  whole('GEORADIUSBYMEMBER g palermo 200 km STOREDIST new', 'new'),
  whole('GEOSEARCHSTORE new g FROMMEMBER palermo BYRADIUS 200 km', 'new'),
  // Streams
  twice(whole('XACK st grp 1-1', 'st')),
  whole('XACKDEL st grp KEEPREF IDS 1 1-1', 'st'),
  whole('XADD st * f v', 'st'),
  whole('XAUTOCLAIM st grp other 0 0', 'st'),
  whole('XCFGSET st IDMP-MAXSIZE 1', 'st'),
  whole('XCLAIM st grp other 0 1-1', 'st'),
  twice(whole('XDEL st 1-1', 'st')),
  whole('XDELEX st KEEPREF IDS 1 1-1', 'st'),
  whole('XGROUP CREATE st more $', 'st'),
  whole('XGROUP CREATECONSUMER st grp other', 'st'),
  whole('XGROUP DELCONSUMER st grp con', 'st'),
  whole('XGROUP DESTROY st grp', 'st'),
  whole('XGROUP SETID st grp 0', 'st'),
  whole('XIDMPRECORD st producer id 1-1', 'st'),
  whole('XNACK st grp FAIL IDS 1 1-1', 'st'),
  whole('XREADGROUP GROUP grp con COUNT 1 STREAMS st >', 'st'),
  twice(whole('XSETID st 9-9', 'st')),
  whole('XTRIM st MAXLEN 1', 'st'),
  // Arrays
  whole('ARDEL ar 0', 'ar'),
  whole('ARDELRANGE ar 0 1', 'ar'),
  whole('ARINSERT ar v', 'ar'),
  whole('ARMSET ar 0 v 1 w', 'ar'),
  whole('ARRING ar 5 v', 'ar'),
  whole('ARSEEK ar 1', 'ar'),
  whole('ARSET ar 0 v', 'ar'),
  // Vector sets
  whole('VADD vec VALUES 1 1 f', 'vec'),
  whole('VREM vec e', 'vec'),
  whole('VSETATTR vec e {}', 'vec'),
  // Scripts and functions
  whole(`EVAL ${SCRIPT} 2 s n v`, 's n'),
  whole('EVALSHA $SHA 1 s v', 's'),
  whole('FCALL fun 1 s v', 's'),
];

/** Writes of whole databases, and of what is no key. */
export const WITHOUT_KEYS = ['CLUSTER', 'FLUSHALL', 'FLUSHDB', 'SWAPDB', 'TRIMSLOTS'] as const;
