import { describe, expect, it } from 'vitest';
import { endsAtMs, expiryOf, readExpiryOptions } from '../../src/commands/expiry.js';

const NOW = 1_000_000;

/** When it ends, in ms since the epoch. */
function endOf(line: string): number | undefined {
  const [command = '', ...args] = line.split(' ');
  const expiry = expiryOf(command, args);
  return expiry && endsAtMs(expiry, NOW);
}

describe('the second argument', () => {
  it.each([
    ['EXPIRE k 10', NOW + 10_000],
    ['EXPIRE k -1', NOW - 1000],
    ['pexpire k 10 NX', NOW + 10],
    ['EXPIREAT k 10', 10_000],
    ['PEXPIREAT k 10', 10],
    ['HEXPIRE k 10 FIELDS 1 f', NOW + 10_000],
    ['HPEXPIRE k 10 FIELDS 1 f', NOW + 10],
    ['HEXPIREAT k 10 FIELDS 1 f', 10_000],
    ['HPEXPIREAT k 10 FIELDS 1 f', 10],
    ['SETEX k 10 v', NOW + 10_000],
    ['PSETEX k 10 v', NOW + 10],
    ['EXPIRE k ten', Number.NaN],
  ])('of %s is a time', (line, expected) => {
    expect(endOf(line)).toBe(expected);
  });

  it.each(['PERSIST k', 'GETEX k EX 10', 'SET k 10', 'INCRBY k 10', 'NOSUCHCOMMAND k 10'])('of %s is none', (line) => {
    expect(endOf(line)).toBeUndefined();
  });
});

describe('options', () => {
  function read(line: string, from: number, to = line.split(' ').length) {
    const found = readExpiryOptions(line.split(' '), from, to);
    return found && [found.expiry && endsAtMs(found.expiry, NOW), found.word, [...found.conditions]];
  }

  it.each([
    ['k v', [undefined, undefined, []]],
    ['k v EX 10', [NOW + 10_000, undefined, []]],
    ['k v px 10 NX', [NOW + 10, undefined, ['NX']]],
    ['k v EXAT 10', [10_000, undefined, []]],
    ['k v GET PXAT 10', [10, undefined, ['GET']]],
    ['k v EX 1 EX 2', [NOW + 2000, undefined, []]],
    ['k v keepttl', [undefined, 'KEEPTTL', []]],
    ['k v IFEQ EX PERSIST', [undefined, 'PERSIST', ['IFEQ']]],
  ])('of %s', (line, expected) => {
    expect(read(line, 2)).toEqual(expected);
  });

  it('end where they are told to, and are not guessed', () => {
    expect(read('k EX 1 FIELDS 1 f', 1, 3)).toEqual([NOW + 1000, undefined, []]);
    expect(read('k EX 1 FIELDS 1 f', 1)).toBeUndefined();
  });
});
