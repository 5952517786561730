/** What keymend.yaml says of TLS and of files with secrets. */
import { afterAll, expect, it } from 'vitest';
import { parseConfig } from '../../src/config.js';
import { makeAuthority } from '../support/authority.js';

const files = makeAuthority();
afterAll(() => files.remove());

function target(target: object, environment: NodeJS.ProcessEnv = {}) {
  const links = [{ name: 'l', source: { url: 'redis://a' }, target }];
  return parseConfig(JSON.stringify({ kafka: { brokers: ['h:1'] }, links }), 'test', environment).links[0]!.target;
}

const URL = 'redis://:${PASSWORD}@b';

it('a value comes from the environment, or from the file that NAME_FILE names', () => {
  const PASSWORD_FILE = files.file('password', 'of-file\n');
  expect(target({ url: URL }, { PASSWORD_FILE })).toEqual({ url: 'redis://:of-file@b' });
  expect(target({ url: URL }, { PASSWORD_FILE, PASSWORD: 'of-env' })).toEqual({ url: 'redis://:of-env@b' });
});

it('a value is a text, whatever YAML it could be', () => {
  const config = { url: 'redis://b', passwordFile: 'f' };
  expect(target({ ...config, passwordFile: '${NAME}' }, { NAME: '{ a: b }' })).toEqual({
    ...config,
    passwordFile: '{ a: b }',
  });
});

it('a file that can not be read, or is empty, is one line with its variable', () => {
  expect(() => target({ url: URL }, { PASSWORD_FILE: '/nowhere' })).toThrow(
    "test: the environment variable PASSWORD_FILE: the file /nowhere can't be read (ENOENT); check that it is there and who may read it",
  );
  expect(() => target({ url: URL }, { PASSWORD_FILE: files.file('empty', '\n') })).toThrow(
    /: the file \S+ is empty; write the secret into it$/,
  );
  expect(() => target({ url: URL })).toThrow('test: the environment variable PASSWORD is not set');
});

const CA = { tls: { caFile: 'ca.crt' } };
const sentinel = (scheme: string, more: object = {}) => ({ name: 'm', urls: [`${scheme}://s`], ...more });

it.each<[what: string, target: object, says: string]>([
  [
    'TLS of a plain url',
    { url: 'redis://b', ...CA },
    'links[0].target.tls: is only for urls that begin with rediss://',
  ],
  [
    'TLS of a Cluster, one of whose urls is plain',
    { cluster: ['rediss://b', 'redis://c'], ...CA },
    'target.tls: is only for',
  ],
  ['TLS of plain Sentinels', { sentinel: sentinel('redis'), ...CA }, 'target.tls: is only for'],
  [
    'a certificate without a key',
    { url: 'rediss://b', tls: { certFile: 'f' } },
    'target.tls: must have certFile and keyFile together',
  ],
  [
    'two passwords',
    { url: 'redis://:p@b', passwordFile: 'f' },
    'target.passwordFile: is given beside another password; keep one',
  ],
  [
    'two passwords of a Cluster',
    { cluster: ['redis://:p@b'], passwordFile: 'f' },
    'target.passwordFile: is given beside',
  ],
  [
    'two passwords of a master',
    { sentinel: sentinel('redis', { password: 'p' }), passwordFile: 'f' },
    'target.passwordFile: is given beside',
  ],
  [
    'a Sentinel without TLS beside one with it',
    { sentinel: { name: 'm', urls: ['redis://a', 'rediss://b'] } },
    'links[0].target.sentinel.urls: has redis:// beside rediss://; write all of them with the same',
  ],
  [
    'a node without TLS beside one with it',
    { cluster: ['rediss://a', 'redis://b'] },
    'links[0].target.cluster: has redis:// beside rediss://',
  ],
  ['a map for one server', { url: 'redis://b', addressMap: {} }, 'unknown key "links[0].target.addressMap"'],
  [
    'a name that is nearly right',
    { url: 'rediss://b', tls: { cafile: 'f' } },
    'unknown key "links[0].target.tls.cafile", did you mean "links[].target.tls.caFile"',
  ],
])('%s is refused with its place', (_what, given, says) => {
  expect(() => target(given)).toThrow(says);
});
