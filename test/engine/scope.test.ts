import { describe, expect, test } from 'vitest';
import { membersOf, touches } from '../../src/commands/command.js';
import { scopeOf } from '../../src/engine/index.js';

const hint = { whole: false, memberCommands: [], otherCommands: [], members: { utf8: [], base64: [] } };

describe('the scope of failed writes', () => {
  test('is the members when every command named its members', () => {
    const scope = scopeOf({ ...hint, memberCommands: ['SADD', 'SREM'], members: { utf8: ['a'], base64: ['/w=='] } });
    expect(scope).toEqual({ kind: 'members', members: [Buffer.from('a'), Buffer.from([0xff])] });
  });

  test('is the expiry alone for the EXPIRE family, and goes along with members', () => {
    expect(scopeOf({ ...hint, otherCommands: ['EXPIRE', 'PERSIST'] })).toEqual({ kind: 'members', members: [] });
    const both = { ...hint, memberCommands: ['HSET'], otherCommands: ['EXPIRE'], members: { utf8: ['f'], base64: [] } };
    expect(scopeOf(both)).toEqual({ kind: 'members', members: [Buffer.from('f')] });
  });

  test.each([
    ['nothing is known', { ...hint, whole: true }],
    ['one command touches the whole key', { ...hint, otherCommands: ['EXPIRE', 'SET'] }],
    ['a command of members did not name them', { ...hint, memberCommands: ['SADD'], otherCommands: ['SADD'] }],
    ['members are named for a command that chooses its own', { ...hint, memberCommands: ['SPOP'] }],
    ['a command is unknown', { ...hint, otherCommands: ['FROBNICATE'] }],
  ])('is the whole key when %s', (_name, given) => {
    expect(scopeOf(given)).toEqual({ kind: 'whole' });
  });
});

describe('a command', () => {
  test.each([
    ['HSET', ['k', 'f', 'v', 'g', 'w'], ['f', 'g']],
    ['ZADD', ['k', 'NX', 'CH', '1', 'a', '2', 'b'], ['a', 'b']],
    ['GEOADD', ['k', '13.3', '38.1', 'Palermo'], ['Palermo']],
    ['HINCRBY', ['k', 'f', '1'], ['f']],
    ['ZINCRBY', ['k', '1', 'm'], ['m']],
    ['smove', ['k', 'l', 'm'], ['m']],
    ['HEXPIRE', ['k', '10', 'NX', 'FIELDS', '2', 'f', 'FIELDS'], ['f', 'FIELDS']],
    ['HSETEX', ['k', 'FIELDS', '2', 'f', 'v', 'g', 'w', 'EX', '10'], ['f', 'g']],
    ['hgetex', ['FIELDS', 'PERSIST', 'fields', '1', 'f'], ['f']],
  ])('%s names its members', (command, args, members) => {
    expect(membersOf(command, args)).toEqual(members.map((member) => Buffer.from(member)));
    expect(touches(command)).toBe('members');
  });

  test.each([
    ['HEXPIRE', ['k', '10', 'FIELDS', '2', 'f']],
    ['HPERSIST', ['k', 'FIELDS', 'many', 'f']],
    ['HSETEX', ['k', 'EX', '10']],
  ])('%s that no server takes names none', (command, args) => {
    expect(membersOf(command, args)).toBeUndefined();
  });

  test.each(['SPOP', 'LPUSH', 'DEL', 'ZPOPMIN', 'unheard-of', 'constructor'])('%s touches the whole key', (command) => {
    expect(touches(command)).toBe('whole');
    expect(membersOf(command, ['k', 'a'])).toBeUndefined();
  });
});
