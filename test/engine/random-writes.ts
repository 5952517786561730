/**
 * Random writes: every write command of Redis 7.0 on a handful of keys, so that most commands find
 * something to change and many meet a key of another type. Each shape below is one form of a
 * command; a word with a colon stands for random arguments.
 */
import * as fc from 'fast-check';

export type Argument = string | Buffer;
/** A command: its name, then its arguments. */
export type Command = readonly [string, ...Argument[]];

export const KEYS: readonly Buffer[] = [
  Buffer.from('a'),
  Buffer.from('b'),
  Buffer.from('c'),
  Buffer.alloc(0),
  Buffer.from([0xff, 0x00, 0x0d, 0x0a]),
];

/** Far enough that nothing expires during a test; a little apart, so that the tolerance matters. */
const FUTURE = Date.now() + 24 * 3_600_000;
/** DUMP of the string `restored` by Redis 7.0. */
const DUMP = Buffer.from('0008726573746f7265640a00b565b8d8d26f0af4', 'hex');

/**
 * Few distinct small ones, so that commands meet; sometimes bytes, long ones or numbers, which
 * Redis encodes on their own.
 */
const text: fc.Arbitrary<Argument> = fc.oneof(
  { weight: 7, arbitrary: fc.constantFrom<Argument>('', 'x', 'y', 'xy', '1', '-1', '1.5', '9223372036854775807') },
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 1, arbitrary: fc.integer({ min: 60, max: 300 }).map((length) => 'l'.repeat(length)) },
);
const score = fc.oneof(
  fc.double({ noNaN: true }).map((value) => (Number.isFinite(value) ? `${value}` : value > 0 ? 'inf' : '-inf')),
  fc.constantFrom('0', '-0', '1', '0.1', '1e-320'),
);
const one = (...choices: string[]) => fc.constantFrom(...choices);
const some = <T>(item: fc.Arbitrary<T[]>) => fc.array(item, { minLength: 1, maxLength: 4 }).map((list) => list.flat());
const numbers = fc
  .integer({ min: 100, max: 300 })
  .map((count) => Array.from({ length: count }, (_, index) => `${index}`));

const WORDS: Readonly<Record<string, fc.Arbitrary<Argument | Argument[]>>> = {
  ':key': fc.constantFrom<Buffer>(...KEYS),
  ':text': text,
  ':texts': some(text.map((each) => [each])),
  ':pairs': some(fc.tuple(text, text)),
  ':scored': some(fc.tuple(score, text)),
  ':score': score,
  ':number': one('-3', '-1', '0', '1', '2', '7'),
  ':count': one('1', '2'),
  ':float': one('1', '0.1', '-2.5e3'),
  ':bit': one('0', '1'),
  ':offset': fc.nat(100).map(String),
  ':at': one(`${FUTURE}`, `${FUTURE + 50}`, `${FUTURE + 5_000}`, `${FUTURE + 5_000}`, '1'),
  ':seconds': one('90000', '100000'),
  ':when': fc.constantFrom<string[]>([], ['NX'], ['XX'], ['GT'], ['LT']),
  ':end': one('LEFT', 'RIGHT'),
  ':place': one('BEFORE', 'AFTER'),
  ':extreme': one('MIN', 'MAX'),
  ':id': fc.tuple(fc.integer({ min: 1, max: 4 }), fc.nat(4)).map(([ms, seq]) => `${ms}-${seq}`),
  ':group': one('g', 'h'),
  ':consumer': one('ann', 'bob'),
  ':many': numbers,
  ':manypairs': numbers.map((list) => list.flatMap((each) => [each, `m${each}`])),
  ':dump': fc.constant(DUMP),
};

const SHAPES: readonly string[] = [
  // any type
  ...[
    'DEL :key',
    'DEL :key :key',
    'UNLINK :key',
    'PERSIST :key',
    'RESTORE :key 0 :dump REPLACE',
    'RESTORE :key 0 :dump',
  ],
  ...[
    'PEXPIREAT :key :at :when',
    'EXPIRE :key :seconds :when',
    'PEXPIRE :key 99999999',
    'EXPIREAT :key 1900000000 :when',
  ],
  ...['RENAME :key :key', 'RENAMENX :key :key', 'COPY :key :key', 'COPY :key :key REPLACE'],
  ...['SORT :key ALPHA STORE :key', 'EVAL :script 1 :key :text'],
  // string
  ...[
    'SET :key :text',
    'SET :key :text',
    'SET :key :text NX',
    'SET :key :text XX KEEPTTL',
    'SET :key :text GET PXAT :at',
  ],
  ...[
    'SETNX :key :text',
    'SETEX :key :seconds :text',
    'PSETEX :key 99999999 :text',
    'GETSET :key :text',
    'GETDEL :key',
  ],
  ...[
    'GETEX :key EX :seconds',
    'GETEX :key PERSIST',
    'GETEX :key PXAT :at',
    'APPEND :key :text',
    'SETRANGE :key :offset :text',
  ],
  ...[
    'MSET :key :text :key :text',
    'MSETNX :key :text :key :text',
    'SETBIT :key :offset :bit',
    'BITOP XOR :key :key :key',
  ],
  ...[
    'BITFIELD :key SET u4 :offset 9 INCRBY i5 :offset 3',
    'INCR :key',
    'DECR :key',
    'INCRBY :key :number',
    'DECRBY :key :number',
  ],
  ...['INCRBYFLOAT :key :float', 'PFADD :key :texts', 'PFMERGE :key :key :key', 'PFADD :key :many'],
  // hash
  ...['HSET :key :pairs', 'HSET :key :pairs', 'HSET :key :manypairs', 'HMSET :key :pairs', 'HSETNX :key :text :text'],
  ...['HDEL :key :texts', 'HINCRBY :key :text :number', 'HINCRBYFLOAT :key :text :float'],
  // list
  ...['RPUSH :key :texts', 'LPUSH :key :texts', 'RPUSH :key :many', 'RPUSHX :key :text', 'LPUSHX :key :text'],
  ...['LPOP :key', 'RPOP :key :count', 'LMPOP 2 :key :key :end', 'LMOVE :key :key :end :end', 'RPOPLPUSH :key :key'],
  ...[
    'LSET :key :number :text',
    'LINSERT :key :place :text :text',
    'LTRIM :key :number :number',
    'LREM :key :number :text',
  ],
  // set
  ...['SADD :key :texts', 'SADD :key :texts', 'SADD :key :many', 'SREM :key :texts', 'SPOP :key', 'SPOP :key :count'],
  ...['SMOVE :key :key :text', 'SUNIONSTORE :key :key :key', 'SINTERSTORE :key :key :key', 'SDIFFSTORE :key :key :key'],
  // sorted set
  ...[
    'ZADD :key :scored',
    'ZADD :key GT CH :scored',
    'ZADD :key NX :scored',
    'ZADD :key INCR :score :text',
    'ZADD :key :manypairs',
  ],
  ...[
    'ZINCRBY :key :score :text',
    'ZREM :key :texts',
    'ZPOPMIN :key',
    'ZPOPMAX :key :count',
    'ZMPOP 2 :key :key :extreme',
  ],
  ...['ZREMRANGEBYRANK :key 0 :number', 'ZREMRANGEBYSCORE :key -inf :score', 'ZREMRANGEBYLEX :key - [y'],
  ...[
    'ZRANGESTORE :key :key 0 :number',
    'ZUNIONSTORE :key 2 :key :key',
    'ZINTERSTORE :key 2 :key :key',
    'ZDIFFSTORE :key 2 :key :key',
  ],
  ...['GEOADD :key 13.36 38.11 :text', 'GEOSEARCHSTORE :key :key FROMLONLAT 13 38 BYRADIUS 100 km'],
  ...['GEORADIUS :key 13 38 100 km STORE :key', 'GEORADIUSBYMEMBER :key :text 100 km STOREDIST :key'],
  // stream
  ...[
    'XADD :key :id :pairs',
    'XADD :key :id :pairs',
    'XADD :key * :pairs',
    'XADD :key MAXLEN = 2 :id :pairs',
    'XDEL :key :id',
  ],
  ...['XTRIM :key MAXLEN :count', 'XTRIM :key MINID :id', 'XSETID :key 5-0'],
  ...['XGROUP CREATE :key :group 0 MKSTREAM', 'XGROUP CREATE :key :group $', 'XGROUP SETID :key :group :id'],
  ...[
    'XGROUP DESTROY :key :group',
    'XGROUP CREATECONSUMER :key :group :consumer',
    'XGROUP DELCONSUMER :key :group :consumer',
  ],
  ...['XREADGROUP GROUP :group :consumer COUNT 2 STREAMS :key >', 'XREADGROUP GROUP :group :consumer STREAMS :key >'],
  ...['XACK :key :group :id', 'XCLAIM :key :group :consumer 0 :id', 'XAUTOCLAIM :key :group :consumer 0 0'],
];

/** A script that writes what it finds fit: nobody can tell from outside. */
const SCRIPT = "return redis.pcall('APPEND', KEYS[1], ARGV[1]) and redis.call('SETNX', KEYS[1], ARGV[1])";

/** The name of every command above. */
export const COMMANDS: ReadonlySet<string> = new Set(SHAPES.map((shape) => shape.split(' ')[0]!));

function commandOf(shape: string): fc.Arbitrary<Command> {
  const words = shape
    .split(' ')
    .map((word) => (word === ':script' ? fc.constant(SCRIPT) : (WORDS[word] ?? fc.constant(word))));
  return fc.tuple(...words).map((parts) => parts.flat() as unknown as Command);
}

/** Any write on any of `KEYS`. */
export const anyWrite: fc.Arbitrary<Command> = fc.oneof(...SHAPES.map(commandOf));

/** Writes of which most find a key of the right type: all of one data type. */
export const writesOfOneType: fc.Arbitrary<fc.Arbitrary<Command>> = fc
  .constantFrom(
    /^(HSET|HDEL|HINCR|HMSET|PEXP|PERSIST|DEL)/,
    /^(S[ADRMIU][A-Z]*( |STORE)|SPOP|PERSIST)/,
    /^(Z|GEO|PEXP)/,
    /^X/,
    /^[LR]/,
  )
  .map((names) => fc.oneof(...SHAPES.filter((shape) => names.test(shape)).map(commandOf)));

/** Two writes between which a key goes to and fro, so that it often is again what it was. */
export const toAndFro: fc.Arbitrary<readonly [Command, Command]> = fc.constantFrom<[Command, Command][]>(
  [
    ['SET', 'a', 'x'],
    ['SET', 'a', 'y'],
  ],
  [
    ['SET', 'a', 'x'],
    ['DEL', 'a'],
  ],
  [
    ['HSET', 'a', 'f', '1', 'g', '1'],
    ['HSET', 'a', 'f', '2', 'g', '1'],
  ],
);
