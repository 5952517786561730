/** What a comparison asks of the servers: no more than what decides. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { compareRedis } from '../support/compare.js';
import { startLink, type TestLink } from './link.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(async () => {
  await link.clear();
  for (const { client } of [link.source, link.target]) await client.config('RESETSTAT');
});

type Command = [string, ...(string | number)[]];

/** Which of these commands either side has executed. */
async function executed(...commands: string[]): Promise<string[]> {
  const stats = await Promise.all([link.source, link.target].map(({ client }) => client.info('commandstats')));
  return commands.filter((command) => stats.some((text) => text.includes(`cmdstat_${command}:`)));
}

async function expectRepaired(): Promise<void> {
  expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'restored' });
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
}

const letters = (count: number) => Array.from({ length: count }, (_, index) => String.fromCharCode(97 + index));

describe('sets of few members', () => {
  test.each([1, 5, 16])('%i of them, equal in whatever order, are gone through by no script', async (count) => {
    // Among integers, for those alone would lie in an intset, which is sorted.
    const members = [...letters(count - 1), '7'];
    await link.source.client.sadd('k', ...members);
    await link.target.client.sadd('k', ...members.toReversed());
    expect(await link.reconcile('k')).toEqual({ outcome: 'equal' });
    expect(await executed('smembers')).toEqual([]);
  });

  test('equal in another encoding they are equal', async () => {
    await link.source.client.sadd('k', '1', '2', '3');
    await link.target.client.sadd('k', 'x', '3', '2', '1');
    await link.target.client.srem('k', 'x');
    expect(await link.reconcile('k')).toEqual({ outcome: 'equal' });
  });

  test.each([
    ['as many others', letters(5), letters(4).concat('z')],
    ['more than few', letters(16), letters(17)],
    ['fewer', letters(17), letters(16)],
    ['members joined', ['ab', 'c'], ['a', 'bc']],
    ['what a length in front of a member may look like', ['1:a', 'b'], ['1:', 'ab']],
  ])('against %s they are repaired', async (_, onSource, onTarget) => {
    await link.source.client.sadd('k', ...onSource);
    await link.target.client.sadd('k', ...onTarget);
    await expectRepaired();
  });

  test('that differ are dumped once for each look at them, and not gone through', async () => {
    await link.source.client.sadd('k', ...letters(5));
    await link.target.client.sadd('k', ...letters(4));
    expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired' });
    const calls = await Promise.all(
      [link.target, link.source].map(
        async ({ client }) => /cmdstat_dump:calls=(\d+)/.exec(await client.info('commandstats'))?.[1],
      ),
    );
    expect(calls).toEqual(['2', '2']);
    expect(await executed('smembers')).toEqual([]);
  });

  test('of long members they are equal, too', async () => {
    const members = letters(16).map((letter) => letter.repeat(10_000));
    await link.source.client.sadd('k', ...members);
    await link.target.client.sadd('k', ...members.toReversed());
    expect(await link.reconcile('k')).toEqual({ outcome: 'equal' });
  });

  test('a change of one on the target, behind the observation, is not written over', async () => {
    await link.source.client.sadd('k', 'a', 'b');
    await link.target.client.sadd('k', 'a', 'c');
    const [observed] = await link.sides.target.inspect([Buffer.from('k')]);
    const [reading] = await link.sides.source.read([{ key: Buffer.from('k'), known: observed as never }]);
    await link.target.client.sadd('k', 'd');
    const { dump, content, expiry } = reading as { dump: Buffer; content: string | null; expiry: number };
    const change = { action: 'restore', dump, content, expiry, expiryTolerated: true } as const;
    expect(await link.sides.target.repair([{ key: Buffer.from('k'), observed: observed as never, change }])).toEqual([
      'changed',
    ]);
  });
});

const MANY = 80;
const texts = Array.from({ length: MANY }, (_, index) => `${index}`.padStart(40, 'x'));
const COLLECTIONS: Record<string, { build: Command[]; damage: Command; elements: string }> = {
  list: { build: [['RPUSH', 'k', ...texts]], damage: ['LPOP', 'k'], elements: 'lrange' },
  set: { build: [['SADD', 'k', ...texts]], damage: ['SREM', 'k', texts[0]!], elements: 'smembers' },
  hash: { build: [['HSET', 'k', ...texts]], damage: ['HDEL', 'k', texts[0]!], elements: 'hgetall' },
  zset: {
    build: [['ZADD', 'k', ...texts.flatMap((text, index) => [index, text])]],
    damage: ['ZREM', 'k', texts[0]!],
    elements: 'zrange',
  },
  stream: {
    build: texts.map((text, index): Command => ['XADD', 'k', `${index + 1}-1`, 'f', text]),
    damage: ['XDEL', 'k', '1-1'],
    elements: 'xinfo|stream',
  },
};

describe.each(Object.entries(COLLECTIONS))('a %s of many elements', (_, { build, damage, elements }) => {
  const run = async (side: 'source' | 'target', commands: Command[]) => {
    for (const [name, ...args] of commands) await link[side].client.call(name, ...args);
  };

  test('is not gone through where the number of elements tells the difference', async () => {
    for (const side of ['source', 'target'] as const) await run(side, build);
    await run('target', [damage]);
    expect(await link.reconcile('k')).toMatchObject({ outcome: 'repaired', action: 'restored' });
    expect(await executed(elements)).toEqual([]);
    expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
  });
});

test('a DUMP proves that two values are equal, whatever memory they take', async () => {
  // From 1,024 bytes of memory on the elements are counted. The source's table once had more.
  const bytes = async (side: 'source' | 'target') => (await link[side].client.memory('USAGE', 'k'))!;
  const more = letters(6);
  let length = 1;
  do {
    await link.clear();
    for (const { client } of [link.source, link.target]) await client.hset('k', 'x'.repeat(length), 'y'.repeat(750));
    await link.source.client.hset('k', ...more.flatMap((field) => [field, '']));
    await link.source.client.hdel('k', ...more);
    length += 8;
  } while ((await bytes('source')) <= 1024);
  expect(await bytes('target')).toBeLessThanOrEqual(1024);
  expect(await link.reconcile('k')).toEqual({ outcome: 'equal' });
  expect(await executed('hgetall')).toEqual([]);
});

describe('a target whose locale does not sort by bytes', () => {
  const locales = mkdtempSync(join(tmpdir(), 'keymend-locales-'));
  const { status } = spawnSync('localedef', ['-i', 'da_DK', '-f', 'UTF-8', join(locales, 'da_DK.UTF-8')]);
  afterAll(() => rmSync(locales, { recursive: true }));

  test.skipIf(status !== 0)('finds sets and hashes equal, and different', async () => {
    const environment = { LOCPATH: locales, LC_ALL: 'da_DK.UTF-8' };
    const danish = await startLink([], [], { target: { environment } });
    try {
      expect(await danish.target.client.eval("return tostring('aa' < 'b')", 0)).toBe('false');
      const members = ['aa', 'b', 'Z', 'a', '', '\u00e5', 'prefix-longer-than-8-a', 'prefix-longer-than-8-B', '7'];
      const fields = (names: string[]) => names.flatMap((name) => [name, name]);
      await danish.source.client.sadd('set', ...members);
      await danish.target.client.sadd('set', ...members.toReversed());
      await danish.source.client.hset('hash', ...fields(members));
      await danish.target.client.hset('hash', ...fields(members.toReversed()));
      for (const key of ['set', 'hash']) expect(await danish.reconcile(key)).toEqual({ outcome: 'equal' });
      await danish.target.client.srem('set', 'aa');
      await danish.target.client.hset('hash', 'aa', 'other');
      for (const key of ['set', 'hash']) expect(await danish.reconcile(key)).toMatchObject({ outcome: 'repaired' });
      expect(await compareRedis(danish.source.client, danish.target.client)).toEqual([]);
    } finally {
      await danish.stop();
    }
  });
});
