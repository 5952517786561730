/** The url of a Redis: what it may say, and that what is refused is told with its place. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ConfigError, parseConfig } from '../../src/config.js';
import { Connection } from '../../src/redis/connection/connection.js';
import { parseRedisUrl, urlProblem } from '../../src/redis-url.js';
import { givenAddresses } from '../../src/stack/environment.js';
import { startRedis } from '../support/redis.js';

const REFUSED: readonly [url: string, problem: RegExp][] = [
  ['redis://:s3cret@a?connectTimeout=5000', /^has the parameter connectTimeout, which keymend does not take/],
  ['redis://:s3cret@a/1?enableOfflineQueue=true', /^has the parameter enableOfflineQueue/],
  ['redis://a?password=s3cret', /^has the parameter password/],
  ['redis://u:12?s3cret@host:6379/0', /^has a parameter, which .* # \/ \? @ : %/],
  ['redis://u:12#s3cret@host:6379/0', /^has a # that belongs to nothing/],
  ['redis://a?__proto__=1', /^has a parameter, which/],
  ['redis://a?db=abc', /^has a parameter db that can't be one/],
  ['redis://a?db=', /^has a parameter db/],
  ['redis://a?db=-1', /^has a parameter db/],
  ['redis://a?db=1.5', /^has a parameter db/],
  ['redis://a?family=5', /^has a parameter family/],
  ['redis://a?db=1&db=1', /^has the parameter db twice/],
  ['redis://a/1?db=2', /^names two databases/],
  ['unix:///tmp/r.sock?db=x', /^has a parameter db/],
  ['unix:///tmp/r.sock?role=slave', /^has the parameter role/],
  ['redis://a/99999999999999999999', /^names no database/],
  ['redis://:s3c%ret@a', /^is no url/],
  ['http://a', /^must start with redis/],
];

test.each(REFUSED)('%s is refused, without what may be a password', (url, problem) => {
  expect(urlProblem(url)).toMatch(problem);
  expect(urlProblem(url)).not.toMatch(/s3cret|\n/);
});

test.each<[string, object]>([
  ['redis://a', { host: 'a' }],
  ['redis://:p%2Fw@a:1/2', { host: 'a', port: 1, password: 'p/w', db: 2 }],
  [
    'rediss://u:p@[::1]:1?db=3&family=6',
    { host: '::1', port: 1, username: 'u', password: 'p', db: 3, family: 6, tls: {} },
  ],
  ['redis://a/2?db=2', { host: 'a', db: 2 }],
  ['unix:///tmp/a%20b.sock?db=2&password=p', { path: '/tmp/a b.sock', db: 2, password: 'p' }],
])('%s says where the server is', (url, said) => {
  expect(urlProblem(url)).toBeUndefined();
  expect(parseRedisUrl(url)).toEqual(said);
});

test('the database is the one of the url, on TCP and on a socket', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'keymend-url-'));
  const server = await startRedis(['--unixsocket', join(directory, 'r.sock')]);
  onTestFinished(async () => {
    await server.stop();
    rmSync(directory, { recursive: true });
  });
  await server.client.select(2);
  await server.client.set('k', 'of 2');
  for (const url of [`${server.url}/2`, `${server.url}?db=2`, `unix://${directory}/r.sock?db=2`]) {
    const connection = new Connection({ url }, { name: 'a' });
    onTestFinished(() => connection.close());
    expect(String(await connection.send([['GET', 'k']]))).toBe('of 2');
    expect(connection.place).toContain(', database 2');
  }
});

describe('in keymend.yaml a parameter is refused with its place:', () => {
  const bad = 'redis://:s3cret@a?connectTimeout=5000';
  const places: readonly [object, string][] = [
    [{ source: { url: bad } }, 'links[0].source.url'],
    [{ target: { url: bad } }, 'links[0].target.url'],
    [{ target: { cluster: ['redis://a', bad] } }, 'links[0].target.cluster[1]'],
    [{ source: { sentinel: { name: 'm', urls: ['redis://a', bad] } } }, 'links[0].source.sentinel.urls[1]'],
  ];
  const problemOf = (link: object) => {
    const sides = { source: { url: 'redis://a' }, target: { url: 'redis://b' } };
    const config = { intake: 'redis-stream', links: [{ name: 'l', ...sides, ...link }] };
    try {
      parseConfig(JSON.stringify(config), 'keymend.yaml', {});
    } catch (error) {
      if (error instanceof ConfigError) return error.message;
      throw error;
    }
    return 'nothing';
  };

  test.each(places)('%j', (link, place) => {
    expect(problemOf(link)).toContain(`keymend.yaml: ${place}: has the parameter connectTimeout`);
    expect(problemOf(link)).not.toMatch(/s3cret|\n/);
  });

  test.each(['redis://a/1', 'redis://a?db=1', 'redis://a?family=4'])(
    'what only the master of Sentinels can have: %s',
    (url) => {
      const link = { source: { sentinel: { name: 'm', urls: [url] } } };
      expect(problemOf(link)).toContain('links[0].source.sentinel.urls[0]: is of a Sentinel');
    },
  );

  test('but not a family or a database that is one', () => {
    expect(problemOf({ source: { url: 'redis://a?db=1&family=6' }, target: { cluster: ['redis://a?family=4'] } })).toBe(
      'nothing',
    );
  });
});

test.each(REFUSED.filter(([url]) => url.startsWith('redis:')))('the environment of the stack: %s', (url, problem) => {
  const given = () => givenAddresses({ KEYMEND_STACK_REDIS_SOURCE: url });
  expect(given).toThrow(/^KEYMEND_STACK_REDIS_SOURCE /);
  expect(given).not.toThrow(/s3cret/);
  expect(given).toThrow(new RegExp(problem.source.slice(1)));
});
