import { describe, expect, test } from 'vitest';
import { explain } from '../../src/redis/connection/explain.js';
import { failureOf, failureOfReply } from '../../src/redis/connection/failure.js';

describe('the code of an error text', () => {
  test.each([
    ["READONLY You can't write against a read only replica.", 'READONLY'],
    ["@user_script: 1: -READONLY You can't write against a read only replica.\r\n", 'READONLY'],
    ["@user_script: 12: -OOM command not allowed when used memory > 'maxmemory'.", 'OOM'],
    ['@user_script: 3: Unknown Redis command called from Lua script', 'ERR'],
    ["The user executing the script can't run this command or subcommand", 'NOPERM'],
    [
      "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments",
      'NOPERM',
    ],
    ["ERR ACL failure in script: User u has no permissions to run the 'dump' command", 'NOPERM'],
    ['ERR ACL failure in script: No permissions to access a key', 'NOPERM'],
    ["EXECABORT Transaction discarded because of: this user has no permissions to run the 'exec' command", 'NOPERM'],
    ['ERR This Redis command is not allowed from script script: 0123, on @user_script:1.', 'NOPERM'],
    ['This Redis command is not allowed from scripts', 'NOPERM'],
    ['ERR This Valkey command is not allowed from script', 'NOPERM'],
    ["ERR command 'config' not support for normal user", 'NOPERM'],
    ['CLUSTERDOWN Hash slot not served', 'CLUSTERDOWN'],
    ['', 'ERR'],
  ])('%s', (text, code) => expect(failureOfReply(text).code).toBe(code));
});

describe('the message of a failure', () => {
  test.each([
    ["ERR unknown command 'FOO', with args beginning with: 'secret' 'more'", 'ERR unknown command …'],
    ['ERR unknown command `FOO`, with args beginning with: `secret`, ', 'ERR unknown command …'],
    ["WRONGTYPE of 'it's secret' here", 'WRONGTYPE of … here'],
    ['ERR bad script: 0123456789abcdef0123456789abcdef01234567, on @user_script:1.', 'ERR bad'],
    ['ERR two\r\nlines\u0000and\u00e9bytes', 'ERR two lines and bytes'],
  ])('has nothing that a user stored: %s', (text, message) => expect(failureOfReply(text).message).toBe(message));

  test('is short', () => expect(failureOfReply(`ERR ${'x'.repeat(10_000)}`).message.length).toBeLessThanOrEqual(160));
});

describe('what is not permitted is named, with the keys', () => {
  const memory = { command: 'MEMORY USAGE' };
  const own = { command: 'SET', onOwnKey: true };
  test.each([
    [
      'ERR This Redis command is not allowed from script',
      memory,
      'does not let scripts run MEMORY USAGE; ask who runs that Redis to allow it',
    ],
    [
      'ERR ACL failure in script: No permissions to access a key',
      own,
      'does not let this user touch a key with SET; grant ~keymend:* in the ACL of that user',
    ],
    [
      "NOPERM User u has no permissions to run the 'memory|usage' command",
      {},
      'does not let this user run MEMORY USAGE; grant +memory|usage on the keys of the link (~*, or their patterns) in the ACL of that user',
    ],
  ])('%s', (text, refused, explanation) => expect(explain(failureOfReply(text, refused))).toBe(explanation));
});

test('the command of an ioredis error is dropped, its stack is kept', () => {
  const error = Object.assign(new Error("ERR wrong value 'secret'"), {
    name: 'ReplyError',
    command: { name: 'set', args: ['k', 'secret'] },
  });
  const failure = failureOf(error);
  expect(failure).toMatchObject({ code: 'ERR', message: 'ERR wrong value …' });
  const everything = JSON.stringify(failure, Object.getOwnPropertyNames(failure));
  expect(everything).not.toContain('secret');
  expect(failure.stack).toMatch(/\n\s+at /);
});

test.each([
  [Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' }), 'CONNECTION'],
  [new Error('Connection is closed.'), 'CONNECTION'],
  [new Error("Stream isn't writeable and enableOfflineQueue options is false"), 'CONNECTION'],
  [new Error('Command timed out'), 'TIMEOUT'],
])('an error of the client: %s', (error, code) => expect(failureOf(error).code).toBe(code));
