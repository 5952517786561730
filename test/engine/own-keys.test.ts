/** What is under `keymend:` is keymend's own: nothing of it is ever reconciled. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { reconcileKeys, reconcileLargeKey } from '../../src/engine/index.js';
import { isOwnKey } from '../../src/own-keys.js';
import { versionDigits } from '../../src/redis/index.js';
import { besideKey } from '../../src/redis/row-versions.js';
import { keysOf } from '../support/keys.js';
import { DEFAULT_OPTIONS, startLink, type TestLink, withMemory } from './link.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());

const REFUSED = {
  outcome: 'failed',
  error: {
    type: 'ReservedKey',
    message: "a key that begins with keymend: is keymend's own and is never reconciled",
  },
};
const OWN = [
  Buffer.from('keymend:'),
  Buffer.from('keymend:budget:east-to-west'),
  Buffer.from('keymend:budget:{1}:east-to-west'),
  Buffer.from('keymend:outbox:{0aa}'),
  Buffer.from('keymend:replacement:1:{k}'),
  Buffer.concat([Buffer.from('keymend:'), Buffer.from([0xff, 0x00, 0x80])]),
];

test('by whatever way, and its neighbours in a call are', async () => {
  await link.source.client.set('user:42', 'v');
  for (const key of OWN) await link.source.client.set(key, 'v');
  const keys = [...OWN, Buffer.from('user:42')];
  const results = await reconcileKeys(
    link.sides,
    keys.map((key) => ({ key, allowDelete: true })),
    DEFAULT_OPTIONS,
  );
  expect(results.slice(0, -1)).toMatchObject(OWN.map(() => REFUSED));
  expect(results.at(-1)).toMatchObject({ outcome: 'repaired', action: 'restored' });
  for (const scope of [
    { kind: 'members', members: [Buffer.from('m')] } as const,
    { kind: 'members', members: [] } as const,
  ])
    expect(await link.reconcile(OWN[1]!, { scope })).toMatchObject(REFUSED);
  for (const key of OWN) {
    const options = { ...DEFAULT_OPTIONS, onProgress() {} };
    expect(await reconcileLargeKey(withMemory(link.sides), { key }, options)).toMatchObject(REFUSED);
  }
  expect(await keysOf(link.target.client)).toEqual(['user:42']);
});

test.each([
  ['a list', (name) => ['RPUSH', name, 'a']],
  ['a text', (name) => ['SET', name, 'zzz']],
  ['digits of another length', (name) => ['SET', name, '9'.repeat(21)]],
] as [string, (name: Buffer) => [string, ...(string | Buffer)[]]][])(
  'where a version is to be kept, %s makes way for it',
  async (_what, fill) => {
    const [key, version] = [Buffer.from('k'), versionDigits(7n)!];
    const name = besideKey('version', key);
    const [command, ...args] = fill(name);
    await link.target.client.call(command, ...args);
    expect(await link.sides.target.rememberVersions([{ key, version }])).toEqual(['remembered']);
    expect(await link.target.client.get(name)).toBe(version);
    await link.target.client.del(name);
  },
);

test.each(['keymend', 'Keymend:budget', 'akeymend:', ' keymend:', ''])('%j is a key of an application', (key) => {
  expect(isOwnKey(key)).toBe(false);
  expect(isOwnKey(Buffer.from(key))).toBe(false);
});
