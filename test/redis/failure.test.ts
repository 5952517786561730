import { describe, expect, test } from 'vitest';
import { failureOf, failureOfReply } from '../../src/redis/failure.js';

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
