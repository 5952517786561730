import { describe, expect, it } from 'vitest';
import { membersOf } from '../../src/commands/command.js';
import { toRecords } from '../../src/dual-write/records/to-records.js';
import { classify, type Write } from '../../src/dual-write/source/write.js';
import { decodeFailedWrite, encodeFailedWrite } from '../../src/events/failed-write-codec.js';

function write(command: string, ...args: (string | Buffer)[]): Write {
  const found = classify(command, args);
  if (found.kind !== 'write') throw new Error(`${command} is no write`);
  return found.write;
}

function recordsOf(...writes: Write[]) {
  const failure = { outcome: 'unknown', error: { code: 'TIMEOUT', message: 'm' } } as const;
  return toRecords(writes, failure, { link: 'l', origin: 'o' });
}

describe('the members of a write', () => {
  it.each([
    ['SADD k a b', ['a', 'b']],
    ['HSET k f1 v1 f2 v2', ['f1', 'f2']],
    ['HDEL k f1 f2', ['f1', 'f2']],
    ['HINCRBY k f 5', ['f']],
    ['HSETNX k f v', ['f']],
    ['ZADD k 1 a 2 b', ['a', 'b']],
    ['ZADD k GT ch 1 a', ['a']],
    ['ZINCRBY k 5 m', ['m']],
    ['GEOADD k NX 1.5 2.5 rome 3 4 oslo', ['rome', 'oslo']],
    ['SMOVE a b m', ['m']],
  ])('%s', (line, members) => {
    const [command = '', ...args] = line.split(' ');
    expect(membersOf(command, args)?.map(String)).toEqual(members);
  });

  it.each(['SET k v', 'SPOP k', 'DEL k', 'LPUSH l v', 'XADD s * f v', 'ZREMRANGEBYRANK z 0 1'])(
    '%s: not known, so the whole key',
    (line) => {
      const [command = '', ...args] = line.split(' ');
      expect(membersOf(command, args)).toBeUndefined();
    },
  );

  it('are left out when they are too many or too large for a record', () => {
    const many = Array.from({ length: 1001 }, (_, index) => `m${index}`);
    expect(recordsOf(write('SADD', 'k', ...many))[0]).not.toHaveProperty('members');
    expect(recordsOf(write('SADD', 'k', 'x'.repeat(70_000)))[0]).not.toHaveProperty('members');
    expect(recordsOf(write('SADD', 'k', ...many.slice(1)))[0]?.members).toHaveLength(1000);
  });
});

describe('a record', () => {
  it('survives its encoding, whatever the bytes of key and members', () => {
    const binary = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    for (const failed of [write('SET', binary, 'v'), write('SADD', 'é✓', 'ü'), write('HDEL', 'k', binary, 'f')]) {
      const [record] = recordsOf(failed);
      const decoded = decodeFailedWrite(encodeFailedWrite(record!));
      expect(decoded).toMatchObject({ ok: true, event: record, key: failed.keys[0] });
    }
  });

  it('speaks of the expiry, or of the whole key when the expiry removed it', () => {
    const commandOf = (command: string, ...args: string[]) => recordsOf(write(command, ...args))[0]?.command;
    expect(commandOf('EXPIRE', 'k', '10')).toBe('EXPIRE');
    expect(commandOf('PEXPIREAT', 'k', '4000000000000')).toBe('PEXPIREAT');
    expect(commandOf('GETEX', 'k', 'EXAT', '4000000000')).toBe('GETEX');
    expect(commandOf('PERSIST', 'k')).toBe('PERSIST');
    expect(commandOf('EXPIRE', 'k', '-1')).toBeUndefined();
    expect(commandOf('EXPIREAT', 'k', '1000000000')).toBeUndefined();
    expect(commandOf('PEXPIREAT', 'k', '4000000000')).toBeUndefined();
    expect(commandOf('GETEX', 'k', 'exat', '1')).toBeUndefined();
  });

  it('speaks of the whole key when several writes of one transaction touched it', () => {
    const records = recordsOf(write('SADD', 'k', 'a'), write('SADD', 'k', 'b'), write('DEL', 'other'));
    expect(records.map(({ key, command, members }) => [key, command, members])).toEqual([
      ['k', undefined, undefined],
      ['other', 'DEL', undefined],
    ]);
  });
});
