import { describe, expect, it } from 'vitest';
import { type MirrorPlan, planMirror } from '../../src/dual-write/mirror-plan.js';
import { classify } from '../../src/dual-write/write.js';

const NOW = 1_000_000;
const OK = Buffer.from('OK');

function plan(line: string, reply: unknown = OK): MirrorPlan {
  const [command = '', ...args] = line.split(' ');
  const found = classify(command, args);
  if (found.kind !== 'write') throw new Error(`${line} is ${found.kind}`);
  return planMirror(found.write, reply, NOW);
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
    ['SETEX k 10 v', 'SET k v PXAT 1010000'],
    ['PSETEX k 10 v', 'SET k v PXAT 1000010'],
    ['SET k v ex 10 NX', 'SET k v PXAT 1010000 NX'],
    ['SET k v NX PX 10', 'SET k v NX PXAT 1000010'],
    ['SET k v EXAT 5', 'SET k v EXAT 5'],
    ['GETEX k EX 1', 'GETEX k PXAT 1001000'],
    ['EXPIRE k 10 NX', 'PEXPIREAT k 1010000 NX'],
    ['PEXPIRE k 10', 'PEXPIREAT k 1000010'],
    ['HEXPIRE k 10 FIELDS 1 f', 'HPEXPIREAT k 1010000 FIELDS 1 f'],
    ['HPEXPIRE k 10 FIELDS 1 f', 'HPEXPIREAT k 1000010 FIELDS 1 f'],
    ['HSETEX k EX 1 FIELDS 1 EX PX', 'HSETEX k PXAT 1001000 FIELDS 1 EX PX'],
    ['HGETEX k PX 1 FIELDS 1 EX', 'HGETEX k PXAT 1000001 FIELDS 1 EX'],
    ['MSETEX 1 EX EX NX EX 1', 'MSETEX 1 EX EX NX PXAT 1001000'],
    ['RESTORE k 5 payload REPLACE', 'RESTORE k 1000005 payload REPLACE ABSTTL'],
    ['RESTORE k 0 payload', 'RESTORE k 0 payload'],
    ['RESTORE k 5 payload ABSTTL', 'RESTORE k 5 payload ABSTTL'],
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

  it('removes the members that SPOP took', () => {
    expect(sent('SPOP k', Buffer.from('m'))).toBe('SREM k m');
    expect(sent('SPOP k 2', [Buffer.from('m'), Buffer.from('n')])).toBe('SREM k m n');
  });
});

describe('a write is recorded instead of sent', () => {
  it.each([
    'EVAL script 1 k',
    'EVALSHA sha 2 k l',
    'FCALL f 1 k',
    'BLPOP k 0',
    'BLMOVE a b LEFT LEFT 0',
    'XREADGROUP GROUP g c STREAMS s >',
    'XAUTOCLAIM s g c 0 0',
    'MIGRATE host 6379 k 0 100',
  ])('%s', (line) => {
    expect(plan(line, [OK]).kind).toBe('record');
  });
});

describe('nothing is sent for what changed nothing', () => {
  it.each(['SPOP k', 'BLPOP k 0', 'XADD s NOMKSTREAM * f v', 'XREADGROUP GROUP g c STREAMS s >'])('%s', (line) => {
    expect(plan(line, null)).toEqual({ kind: 'nothing' });
  });
});

describe('commands that write nothing', () => {
  it.each([
    ['GET', ['k']],
    ['SORT', ['k', 'BY', 'w_*']],
    ['GEORADIUS', ['k', '1', '1', '5', 'km']],
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
    ['BITOP AND dest x y', ['dest', 'x', 'y']],
    ['ZUNIONSTORE dest 2 x y WEIGHTS 1 2', ['dest', 'x', 'y']],
    ['XGROUP CREATE s g $ MKSTREAM', ['s']],
    ['EVAL script 2 a b c', ['a', 'b']],
    ['LMPOP 2 a b LEFT', ['a', 'b']],
    ['COPY a b REPLACE', ['a', 'b']],
  ])('%s are all that it names, each once', (line, keys) => {
    expect(keysOf(line)).toEqual(keys);
  });
});
