import { list } from '@ioredis/commands';
import { describe, expect, it } from 'vitest';
import { isWrite, writtenKeys } from '../../src/commands/command.js';
import { classify, type Write } from '../../src/dual-write/source/write.js';
import { planMirror } from '../../src/dual-write/target/mirror-plan.js';
import { agrees, type MirrorPlan, type Replay } from '../../src/dual-write/target/replay.js';

const OK = Buffer.from('OK');
const m = (text: string) => Buffer.from(text);

function plan(line: string, reply: unknown = OK): MirrorPlan {
  const [command = '', ...args] = line.split(' ');
  const found = classify(command, args);
  if (found.kind !== 'write') throw new Error(`${line} is ${found.kind}`);
  return planMirror(found.write, reply);
}

/** What the target is sent, as one line. */
function sent(line: string, reply: unknown = OK): string {
  const found = plan(line, reply);
  if (found.kind !== 'replay') throw new Error(`${line} is not replayed: ${found.kind}`);
  return [found.replay.command, ...found.replay.args].join(' ');
}

describe('the command that the target is sent', () => {
  it.each([
    ['set k v', 'SET k v'],
    ['SET EX PX', 'SET EX PX'],
    ['INCRBY k 5', 'INCRBY k 5'],
    ['SETEX k 10 v', 'SET k v PX 10000'],
    ['PSETEX k 10 v', 'SET k v PX 10'],
    ['SET k v ex 10', 'SET k v PX 10000'],
    ['SET k v KEEPTTL', 'SET k v KEEPTTL'],
    ['SET k v EXAT 5', 'SET k v EXAT 5'],
    ['GETSET k v', 'SET k v'],
    ['GETEX k EX 1', 'PEXPIRE k 1000'],
    ['GETEX k PX 1', 'PEXPIRE k 1'],
    ['GETEX k EXAT 5', 'EXPIREAT k 5'],
    ['GETEX k PXAT 5', 'PEXPIREAT k 5'],
    ['GETEX k persist', 'GETEX k PERSIST'],
    ['PEXPIRE k 10', 'PEXPIRE k 10'],
    ['EXPIREAT k 10', 'EXPIREAT k 10'],
    ['LTRIM k 0 99', 'LTRIM k 0 99'],
    ['LTRIM k -100 -1', 'LTRIM k -100 -1'],
    ['HSETEX k EX 1 FIELDS 1 EX PX', 'HSETEX k PX 1000 FIELDS 1 EX PX'],
    ['HGETEX k PX 1 FIELDS 1 EX', 'HGETEX k PX 1 FIELDS 1 EX'],
    ['RESTORE k 5 payload REPLACE', 'RESTORE k 5 payload REPLACE'],
    ['RESTORE k 0 payload', 'RESTORE k 0 payload REPLACE'],
    ['RESTORE k 5 payload ABSTTL', 'RESTORE k 5 payload ABSTTL REPLACE'],
  ])('for %s is %s', (line, expected) => {
    expect(sent(line)).toBe(expected);
  });

  it.each([
    ['XADD s * f v', 'XADD s 7-1 f v'],
    ['XADD s 7-* f v', 'XADD s 7-1 f v'],
    ['XADD s 7-1 * v', 'XADD s 7-1 * v'],
    ['XADD s NOMKSTREAM MAXLEN ~ 10 LIMIT 5 * f v', 'XADD s NOMKSTREAM MAXLEN ~ 10 LIMIT 5 7-1 f v'],
    ['XADD s MINID 3-1 * * *', 'XADD s MINID 3-1 7-1 * *'],
  ])('for %s, answered by 7-1, is %s', (line, expected) => {
    expect(sent(line, Buffer.from('7-1'))).toBe(expected);
  });

  it.each([
    ['SPOP k', m('m'), 'SREM k m', 1],
    ['SPOP k 2', [m('m'), m('n')], 'SREM k m n', 2],
    ['ZPOPMIN k', [m('m'), m('1')], 'ZREM k m', 1],
    [
      'ZPOPMAX k 2',
      [
        [m('m'), 1],
        [m('n'), 2],
      ],
      'ZREM k m n',
      2,
    ],
    ['BZPOPMIN k l 0', [m('l'), m('m'), m('1')], 'ZREM l m', 1],
    [
      'ZMPOP 2 k l MIN COUNT 5',
      [
        m('l'),
        [
          [m('m'), m('1')],
          [m('n'), m('2')],
        ],
      ],
      'ZREM l m n',
      2,
    ],
    ['BZMPOP 0 2 k l MAX', [m('k'), [[m('m'), m('1')]]], 'ZREM k m', 1],
    ['BLPOP k l 0', [m('l'), m('e')], 'LPOP l', m('e')],
    ['BRPOP k 0', [m('k'), m('e')], 'RPOP k', m('e')],
    ['LMPOP 2 k l RIGHT COUNT 5', [m('l'), [m('e'), m('d')]], 'RPOP l 2', [m('e'), m('d')]],
    ['BLMPOP 0 1 k left', [m('k'), [m('e')]], 'LPOP k 1', [m('e')]],
    ['LPOP k', m('e'), 'LPOP k', m('e')],
    ['LMOVE k l LEFT RIGHT', m('e'), 'LMOVE k l LEFT RIGHT', m('e')],
    ['BLMOVE k l LEFT RIGHT 0', m('e'), 'LMOVE k l LEFT RIGHT', m('e')],
    ['BRPOPLPUSH k l 0', m('e'), 'RPOPLPUSH k l', m('e')],
    ['HGETDEL k FIELDS 3 f g h', [m('0'), null, m('v')], 'HDEL k f h', 2],
    ['HINCRBYFLOAT k f 0.1', m('0.1'), 'HINCRBYFLOAT k f 0.1', m('0.1')],
    ['XTRIM s MAXLEN ~ 5', 3, 'XTRIM s MAXLEN ~ 5', 3],
  ])('for what %s took is proved by its answer', (line, reply, expected, answer) => {
    expect(sent(line, reply)).toBe(expected);
    const found = plan(line, reply);
    expect(found).toMatchObject({ replay: { reply: answer } });
    const { replay } = found as Extract<MirrorPlan, { kind: 'replay' }>;
    expect(agrees(replay, answer)).toBe(true);
    for (const other of [null, 0, [], m('other'), [m('other')]]) expect(agrees(replay, other)).toBe(false);
  });

  it.each([
    ['SETNX k v', 1, 'SET k v'],
    ['SET k v NX', OK, 'SET k v'],
    ['SET k v XX PX 10', OK, 'SET k v PX 10'],
    ['SET k v NX GET', null, 'SET k v'],
    ['SET k v XX GET', m('old'), 'SET k v'],
    ['SET k v GET KEEPTTL', null, 'SET k v KEEPTTL'],
    ['SET k v IFEQ NX EX 1', OK, 'SET k v PX 1000'],
    ['MSETNX k v l w', 1, 'MSET k v l w'],
    ['MSETEX 1 EX EX NX EX 1', 1, 'MSETEX 1 EX EX PX 1000'],
    ['DELEX k IFEQ v', 1, 'DEL k'],
    ['HSETNX k f v', 1, 'HSET k f v'],
    ['HSETEX k FNX EX 1 FIELDS 1 f v', 1, 'HSETEX k PX 1000 FIELDS 1 f v'],
    ['EXPIRE k 10 NX', 1, 'PEXPIRE k 10000'],
    ['PEXPIREAT k 10 GT', 1, 'PEXPIREAT k 10'],
    ['HEXPIRE k 10 GT FIELDS 3 f g h', [1, 0, 2], 'HPEXPIRE k 10000 FIELDS 2 f h'],
    ['HPEXPIRE k 10 FIELDS 2 f g', [-2, 1], 'HPEXPIRE k 10 FIELDS 1 g'],
    ['HPEXPIREAT k 10 NX FIELDS 1 f', [1], 'HPEXPIREAT k 10 FIELDS 1 f'],
    ['HPERSIST k FIELDS 2 f g', [1, -1], 'HPERSIST k FIELDS 1 f'],
    ['ZADD k NX 1 a', 1, 'ZADD k 1 a'],
    ['ZADD k NX 1 a 2 b', 2, 'ZADD k 1 a 2 b'],
    ['ZADD k gt ch 1 a', 1, 'ZADD k 1 a'],
    ['ZADD k GT 1 a', 1, 'ZADD k 1 a'],
    ['ZADD k XX CH 1 a 2 b', 2, 'ZADD k 1 a 2 b'],
    ['ZADD k INCR 1 a', m('3.5'), 'ZADD k 3.5 a'],
    ['ZADD k GT INCR 1 a', 3.5, 'ZADD k 3.5 a'],
    ['GEOADD k NX 1 2 a', 1, 'GEOADD k 1 2 a'],
  ])('for %s, which did it, has no condition', (line, reply, expected) => {
    expect(sent(line, reply)).toBe(expected);
  });

  it.each([
    ['INCRBYFLOAT k 0.1', m('0.1'), 'SET k 0.1 KEEPTTL'],
    ['ZINCRBY k 0.1 a', m('0.30000000000000004'), 'ZADD k 0.30000000000000004 a'],
    ['GETDEL k', m('v'), 'DEL k'],
    ['SINTERSTORE k a b', 0, 'DEL k'],
    ['SORT l STORE k', 0, 'DEL k'],
    ['BITOP AND k a b', 0, 'DEL k'],
  ])('for %s is its effect', (line, reply, expected) => {
    expect(sent(line, reply)).toBe(expected);
  });

  it('must be answered as the source answered only where that tells something', () => {
    const idle = (line: string, reply: unknown) => (plan(line, reply) as { replay: Replay }).replay.idle;
    expect(idle('SADD k a', 0)).toBe(true);
    expect(idle('SADD k a', 1)).toBe(false);
    expect(idle('GETDEL k', null)).toBe(true);
    expect(idle('HSETNX k f v', 1)).toBeUndefined();
  });
});

describe('a write is recorded instead of sent', () => {
  it.each([
    'EVAL script 1 k',
    'EVALSHA sha 2 k l',
    'FCALL f 1 k',
    'XREADGROUP GROUP g c STREAMS s >',
    'XAUTOCLAIM s g c 0 0',
    'XGROUP CREATE s g $',
    'XGROUP SETID s g $',
    'MIGRATE host 6379 k 0 100',
    'SORT l STORE k',
    'GEORADIUS g 1 1 5 km STORE k',
    'SUNIONSTORE k a b',
    'ZRANGESTORE k a 0 1',
    'BITOP NOT k a',
    'PFMERGE k a b',
    'COPY a b',
    'RENAME a b',
    'RENAMENX a b',
    'ZREMRANGEBYRANK k 0 -100',
    'ZREMRANGEBYLEX k [a [b',
    'LTRIM k 1 -1',
    'LTRIM k 0 -2',
    'LTRIM k 2 5',
    'LTRIM k -5 -2',
    'LTRIM k 1 0',
    'ZADD k XX 1 a',
    'ZADD k NX 1 a 2 b',
    'ZADD k NX 1 a 2 a 3 b 4 b',
    'ZADD k GT CH 1 a 2 b 3 c',
    'SET k v IFEQ old GET',
    'SET k v OPTION',
    'VADD k VALUES 1 1 e',
    'ARSET k 0 v',
    'XNACK s g c FAIL IDS 1 1-1',
    'HIMPORT SET k fieldset v',
  ])('%s', (line) => {
    expect(plan(line, line.startsWith('ZADD k NX 1 a 2 a') ? 2 : line.includes(' NX 1 a 2 b') ? 1 : 5).kind).toBe(
      'record',
    );
  });

  it('when it was sent to the source twice, unless twice is the same as once and was done', () => {
    const resent = (line: string, reply: unknown) => {
      const [command = '', ...args] = line.split(' ');
      return planMirror((classify(command, args) as { write: Write }).write, reply, true).kind;
    };
    expect(resent('SET k v', OK)).toBe('replay');
    expect(resent('SADD k a', 0)).toBe('replay');
    expect(resent('INCR k', 2)).toBe('record');
    expect(resent('SETNX k v', 0)).toBe('record');
    expect(resent('SET k v NX', null)).toBe('record');
    expect(resent('LPOP k', m('e'))).toBe('record');
    expect(resent('SMOVE a b m', 0)).toBe('record');
  });
});

describe('nothing is sent for what changed nothing', () => {
  it.each([
    ...['SPOP k', 'BLPOP k 0', 'XADD s NOMKSTREAM * f v', 'XREADGROUP GROUP g c STREAMS s >', 'GETEX k EX 1'],
    ...[
      'SET k v NX',
      'SET k v XX GET',
      'ZADD k NX INCR 1 a',
      'LPOP k',
      'LMOVE a b LEFT LEFT',
      'BLMOVE a b LEFT LEFT 0',
    ],
  ])('%s, answered by nil', (line) => {
    expect(plan(line, null)).toEqual({ kind: 'nothing' });
  });

  it.each([
    ...[
      'SETNX k v',
      'MSETNX k v',
      'HSETNX k f v',
      'EXPIRE k 1 NX',
      'RENAMENX a b',
      'COPY a b',
      'LPUSHX k v',
      'SMOVE a b m',
    ],
    ...['ZADD k NX 1 a', 'ZADD k GT CH 1 a', 'ZREMRANGEBYRANK k 0 0', 'HSETEX k FNX FIELDS 1 f v', 'DELEX k IFEQ v'],
  ])('%s, answered by 0', (line) => {
    expect(plan(line, 0)).toEqual({ kind: 'nothing' });
  });

  it.each([
    ['SET k v NX GET', m('old')],
    ['LINSERT k BEFORE a b', -1],
    ['HEXPIRE k 1 NX FIELDS 2 f g', [0, -2]],
    ['HPERSIST k FIELDS 1 f', [-1]],
    ['HGETDEL k FIELDS 1 f', [null]],
    ['HGETEX k EX 1 FIELDS 1 f', [null]],
    ['ZPOPMIN k', []],
    ['MIGRATE host 6379 k 0 100', m('NOKEY')],
  ])('%s', (line, reply) => {
    expect(plan(line, reply)).toEqual({ kind: 'nothing' });
  });
});

describe('an expiry that a target without the field or key can not take', () => {
  it.each<[string, unknown, unknown]>([
    ['HGETEX k EX 10 FIELDS 1 f', [m('v')], [null]],
    ['HGETEX k PX 10 FIELDS 2 f g', [m('v'), null], [null, null]],
    ['HPERSIST k FIELDS 1 f', [1], [-2]],
    ['GETEX k PERSIST', m('v'), null],
  ])('is no mirrored write: %s', (line, reply, ofOther) => {
    const found = plan(line, reply);
    if (found.kind !== 'replay') throw new Error(`${line} is not replayed: ${found.kind}`);
    expect([agrees(found.replay, reply), agrees(found.replay, ofOther)]).toEqual([true, false]);
  });
});

describe('commands that write nothing', () => {
  it.each([
    ['GET', ['k']],
    ['SORT', ['k', 'BY', 'w_*']],
    ['GEORADIUS', ['k', '1', '1', '5', 'km']],
    ['BITFIELD', ['k', 'GET', 'u8', '0']],
    ['GETEX', ['k']],
    ['XGROUP', ['HELP']],
    ['EVAL_RO', ['return 1', '0']],
    ['PUBLISH', ['channel', 'message']],
    ['SUBSCRIBE', ['channel']],
    ['CONFIG', ['GET', '*']],
  ])('%s are left to the source', (command, args) => {
    expect(classify(command, args)).toEqual({ kind: 'other' });
  });
});

describe('the keys of a write', () => {
  const keysOf = (line: string) => {
    const [command = '', ...args] = line.split(' ');
    const found = classify(command, args);
    return found.kind === 'write' ? found.write.keys.map(String) : found.kind;
  };

  it.each([
    ['MSET a 1 b 2 a 3', ['a', 'b']],
    ['BITOP AND dest x y', ['dest']],
    ['ZUNIONSTORE dest 2 x y WEIGHTS 1 2', ['dest']],
    ['SORT l STORE dest', ['dest']],
    ['XGROUP CREATE s g $ MKSTREAM', ['s']],
    ['EVAL script 2 a b c', ['a', 'b']],
    ['LMPOP 2 a b LEFT', ['a', 'b']],
    ['COPY a b REPLACE', ['b']],
    ['RENAME a b', ['a', 'b']],
  ])('%s are all that it may write, each once', (line, keys) => {
    expect(keysOf(line)).toEqual(keys);
  });

  it('are those of the metadata also where they are known without a look at the other arguments', () => {
    for (const command of list) {
      for (let count = 1; count <= 6; count++) {
        const args = Array.from({ length: count }, (_, index) => `${index + 1}`);
        const found = classify(command, args);
        if (found.kind === 'write') expect([command, found.write.keys]).toEqual([command, writtenKeys(command, args)]);
        if (found.kind === 'other') expect([command, isWrite(command, args)]).toEqual([command, false]);
      }
    }
  });

  it('are those that were sent, also when the application uses its buffers again', () => {
    const key = Buffer.from('key');
    const found = classify('set', [key, 'v']);
    key.fill(0);
    expect((found as { write: Write }).write.keys.map(String)).toEqual(['key']);
  });
});
