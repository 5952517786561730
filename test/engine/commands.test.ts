import { list } from '@ioredis/commands';
import { describe, expect, test } from 'vitest';
import { isIdempotent, isWrite } from '../../src/engine/index.js';

describe('isIdempotent', () => {
  test.each([
    'SET',
    'set',
    'DEL',
    'UNLINK',
    'HSET',
    'HDEL',
    'SADD',
    'SREM',
    'ZREM',
    'LSET',
    'PEXPIREAT',
    'PERSIST',
    'XACK',
  ])('%s: sent twice leaves the same state', (command) => expect(isIdempotent(command)).toBe(true));

  test.each([
    ['counters', ['INCR', 'DECRBY', 'INCRBYFLOAT', 'HINCRBY', 'ZINCRBY', 'ZADD']],
    ['what grows or shrinks', ['APPEND', 'LPUSH', 'RPUSHX', 'LPOP', 'SPOP', 'LTRIM', 'LREM', 'LINSERT', 'XADD']],
    ['relative expiries', ['EXPIRE', 'PEXPIRE', 'SETEX', 'PSETEX', 'GETEX']],
    ['what depends on other keys', ['RENAME', 'COPY', 'SUNIONSTORE', 'ZUNIONSTORE', 'LMOVE', 'BITOP', 'PFMERGE']],
    ['scripts', ['EVAL', 'EVALSHA', 'FCALL']],
    ['the unknown', ['JSON.SET', 'NOSUCHCOMMAND', '']],
  ])('%s are not', (_name, commands) => {
    expect(commands.filter((command) => isIdempotent(command))).toEqual([]);
  });

  test('only writes that Redis knows are in the table', () => {
    const idempotent = list.filter((command) => isIdempotent(command));
    expect(idempotent.filter((command) => !isWrite(command))).toEqual([]);
    expect(idempotent.length).toBeGreaterThan(30);
  });
});

describe('isWrite', () => {
  test.each([
    'SET',
    'hset',
    'XREADGROUP',
    'GETEX',
    'SORT',
    'GEORADIUS',
    'BITFIELD',
    'FLUSHALL',
    'XGROUP',
    'EVAL',
    'FCALL',
    'BLMOVE',
  ])('%s may change keys', (command) => expect(isWrite(command)).toBe(true));

  test.each([
    'GET',
    'hgetall',
    'XRANGE',
    'SCAN',
    'PING',
    'INFO',
    'SORT_RO',
    'BITFIELD_RO',
    'EVAL_RO',
    'TTL',
    'DUMP',
    'MULTI',
  ])('%s does not', (command) => expect(isWrite(command)).toBe(false));

  test('a command nobody knows counts as a write', () => {
    expect(isWrite('JSON.SET')).toBe(true);
  });
});
