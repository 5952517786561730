/** What `keymend.yaml` may say of a source that is a database, and the line for what it may not. */
import { describe, expect, test } from 'vitest';
import { secondLook } from '../../src/cli/doctor/link.js';
import { linkPolicy, parseConfig } from '../../src/config.js';
import { CACHE_LEASE_MS } from '../../src/defaults.js';

const MAPPING = { key: 'user:{id}', query: 'SELECT id FROM users WHERE id = :id', value: 'json' };

function parse(link: object, more: object = {}) {
  const source = { mysql: { url: 'mysql://app:secret@db:3306/shop' } };
  const target = { url: 'redis://cache:6379' };
  const config = {
    kafka: { brokers: ['kafka:9092'] },
    links: [{ name: 'shop', source, target, mappings: [MAPPING], ...link }],
    ...more,
  };
  return parseConfig(JSON.stringify(config), 'keymend.yaml', {}).links[0]!;
}

function problem(link: object, more: object = {}): string {
  try {
    parse(link, more);
  } catch (error) {
    return (error as Error).message.replace('keymend.yaml: ', '');
  }
  throw new Error('it was taken');
}

test('a link may have a database as its source; its keys are looked at twice', () => {
  const link = parse({});
  expect(link.source).toMatchObject({ mysql: { connections: 8, tls: false } });
  expect(linkPolicy(link)).toMatchObject({ looksTwice: true });
  expect(link.mappings?.[0]?.pattern.match(Buffer.from('user:42'))).toMatchObject([{ name: 'id' }]);
});

test('it is looked at again when no reader of the cache may fill any more', () => {
  expect(parse({}).settle).toBe(CACHE_LEASE_MS);
  expect(parse({ settle: '5s' }).settle).toBe(5_000);
  expect(secondLook(parse({}))).toEqual([]);
  expect(secondLook(parse({ settle: '500ms' }))).toMatchObject([
    {
      level: 'warn',
      message: expect.stringContaining('settle is 500 ms'),
      remedy: expect.stringContaining('settleMs: 500'),
    },
  ]);
});

describe('one line says what is wrong and where', () => {
  const mapping = (changes: object) => ({ mappings: [{ ...MAPPING, ...changes }] });

  test.each<[what: string, link: object, line: string | RegExp]>([
    [
      'two passwords',
      { source: { mysql: { url: 'mysql://app:secret@db/shop', passwordFile: 'f' } } },
      /^links\[0\]\.source.*passwordFile: is given beside another password; keep one/,
    ],
    ['no mappings', { mappings: undefined }, /^links\[0\]\.mappings: is missing; give/],
    ['no part in the key', mapping({ key: 'user' }), /^links\[0\]\.mappings\[0\]\.key: has no part; name what differs/],
    ['an empty part', mapping({ key: 'user:{}' }), /key: has a brace that names no part/],
    ['a brace that is not closed', mapping({ key: 'user:{id' }), /key: has a brace that names no part/],
    ['a part twice', mapping({ key: '{id}:{id}' }), /key: has the part "id" twice/],
    [
      'two parts without an end',
      mapping({ key: 'user:{a}{b}' }),
      /key: does not say where the part in front of "b" ends/,
    ],
    ['an unknown kind', mapping({ key: 'user:{id:number}' }), /key: has a part of the unknown kind "number"/],
    [
      'an unknown name',
      mapping({ query: 'SELECT 1 FROM users WHERE id = :idd' }),
      /query: asks for :idd, which is no part of the key, did you mean ":id"\?/,
    ],
    ['no name', mapping({ query: 'SELECT 1 FROM users' }), /query: uses no part of the key; compare a column with :id/],
    ['names in texts and comments alone', mapping({ query: "SELECT ':id' FROM users -- :id" }), /query: uses no part/],
    [
      'too few marks',
      mapping({ key: '{a}:{b}', query: 'SELECT 1 FROM users WHERE id = ?' }),
      /query: has 1 of \? for 2 parts/,
    ],
    [
      'marks and names',
      mapping({ key: '{a}:{b}', query: 'SELECT 1 FROM t WHERE x = ? AND y = :b' }),
      /query: mixes \? with names/,
    ],
    ['a write', mapping({ query: 'DELETE FROM users WHERE id = :id' }), /query: is no SELECT/],
    ['two statements', mapping({ query: 'SELECT 1 WHERE 1 = :id; DROP TABLE users' }), /query: has a ; in it/],
    ['an unknown value', mapping({ value: 'xml' }), /value: must be json, hash, \{ string: COLUMN \}/],
    [
      'a ttl that nothing writes',
      mapping({ ttl: '1h' }),
      /mappings: give "user:\{id\}" a ttl, which only mode: refresh writes/,
    ],
    ['a key twice', { mappings: [MAPPING, MAPPING] }, /mappings: have the key "user:\{id\}" twice/],
    [
      'another scheme',
      { source: { mysql: { url: 'postgres://db/shop' } } },
      /source\.mysql\.url: must start with mysql:\/\//,
    ],
    [
      'no database',
      { source: { mysql: { url: 'mysql://app:secret@db' } } },
      /source\.mysql\.url: must name one database/,
    ],
    [
      'options of the client',
      { source: { mysql: { url: 'mysql://db/shop?multipleStatements=true' } } },
      /source\.mysql\.url: has a \? or # that belongs to nothing/,
    ],
    ['an unknown field', { source: { mysql: { url: 'mysql://db/shop', ssl: true } } }, /source\.mysql\.ssl/],
    [
      'a mode of another source',
      { source: { url: 'redis://a' }, mode: 'refresh', mappings: undefined },
      /mode: is only for a source \{ mysql: … \}/,
    ],
    ['mappings of another source', { source: { url: 'redis://a' } }, /mappings: is only for a source/],
  ])('%s', (_what, link, line) => {
    expect(problem(link)).toMatch(line);
    expect(problem(link)).not.toMatch(/secret|\n/);
  });

  test('streams of failed writes, which a database has not', () => {
    expect(problem({}, { intake: 'redis-stream' })).toMatch(/links\[0\]\.source: is a database, which has no stream/);
  });
});

describe('a key pattern', () => {
  const match = (key: string, text: string) => {
    const [mapping] = parse({ mappings: [{ ...MAPPING, key: text, query: 'SELECT 1 FROM t WHERE id = :id' }] })
      .mappings!;
    return mapping!.pattern.match(Buffer.from(key))?.map(({ bytes }) => bytes.toString()) ?? null;
  };

  test.each<[pattern: string, key: string, parts: string[] | null]>([
    ['user:{id}', 'user:42', ['42']],
    ['user:{id}', 'user:', null],
    ['user:{id}', 'user:42:name', null],
    ['user:{id}', 'xuser:42', null],
    ['user:{id:int}', 'user:-7', ['-7']],
    ['user:{id:int}', 'user:007', null],
    ['user:{id:int}', 'user:42abc', null],
    ['{tenant}:u:{id}', 'a.b:u:4', ['a.b', '4']],
    ['{{user:{id}}}', '{user:42}', ['42']],
    ['é+{id}', 'é+ü\n', ['ü\n']],
  ])('%s for the key %j', (pattern, key, parts) => {
    expect(match(key, pattern)).toEqual(parts);
  });

  test('is done soon with a key that can be read in very many ways, and in none', { timeout: 10_000 }, () => {
    expect(match(`x:${'-'.repeat(250)}:`, 'x:{id}-{b}-{c}-{d}-{e}-{f}')).toBeNull();
    expect(match(`x:${'-'.repeat(9)}`, 'x:{id}-{b}-{c}')).toEqual(['-----', '-', '-']);
  });
});
