/** Servers of different lines, encodings and orders digest the same content alike. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { connectRedis, type RedisPort } from '../../src/redis/index.js';
import {
  type Provision,
  provideRedis62,
  provideRedis74,
  provideRedis82,
  provideValkey9,
} from '../../src/stack/programs/index.js';
import { portWith, startLink, type TestLink } from '../engine/link.js';
import { startCluster } from '../support/cluster.js';
import { describeWith } from '../support/services.js';
import { swept } from './bed.js';

const LINES: [string, (provision: Provision) => Promise<string>][] = [
  ['Redis 6.2', provideRedis62],
  ['Redis 7.4', provideRedis74],
  ['Redis 8.2', provideRedis82],
  ['Valkey 9', provideValkey9],
];

/** By names that all versions know. */
const OTHER_ENCODINGS = ['hash', 'zset']
  .flatMap((type) => [`--${type}-max-ziplist-entries`, '1'])
  .concat('--set-max-intset-entries', '0', '--list-max-ziplist-size', '1');

const COMMANDS = [
  ['SET', 'string', 'value'],
  ['SET', 'number', '12'],
  ['SET', 'expires', 'value', 'PXAT', '4102444800000'],
  ['RPUSH', 'list', ...Array.from({ length: 300 }, (_, index) => `element ${index}`)],
  ['SADD', 'integers', '1', '2', '3'],
  ['SADD', 'set', 'a', 'b', 'c'],
  ['HSET', 'hash', 'a', '1', 'b', '2'],
  ['ZADD', 'zset', '0.1', 'a', '-0', 'b', '1e300', 'c', 'inf', 'd'],
  ['XADD', 'stream', '1-1', 'f', 'v'],
  ['XGROUP', 'CREATE', 'stream', 'g', '0'],
  ['XREADGROUP', 'GROUP', 'g', 'ann', 'COUNT', '1', 'STREAMS', 'stream', '>'],
] as [string, ...string[]][];

for (const [line, provide] of LINES) {
  for (const newer of ['source', 'target'] as const) {
    await describeWith(`a ${newer} of ${line}`, provide, (binary) => {
      let link: TestLink;
      beforeAll(async () => {
        link = await startLink([], OTHER_ENCODINGS, { [newer]: { binary } });
      });
      afterAll(() => link?.stop());

      test('equal content is equal by the digest of the page, and what differs is found', async () => {
        const { source, target, sides } = link;
        for (const command of COMMANDS) {
          // 6.2 knows no PXAT in the same words as all do.
          for (const { client } of [source, target]) await client.call(...command);
        }
        const keys = await source.client.dbsize();
        const asked = async () => (await source.client.info('commandstats')).match(/cmdstat_dump:calls=(\d+)/)?.[1];
        const before = await asked();
        expect((await swept(sides)).summary).toMatchObject({ outcome: 'equal', compared: keys, targetOnly: 'counted' });
        // The engine, which would have dumped them, was not needed.
        expect(await asked()).toBe(before);
        await target.client.zadd('zset', '0.2', 'a');
        await target.client.hdel('hash', 'a');
        await target.client.pexpire('string', 100_000);
        const { listed } = (await swept(sides)).summary!;
        expect(Object.fromEntries(listed.map(({ key, difference }) => [key, difference]))).toEqual({
          zset: 'value',
          hash: 'value',
          string: 'expiry',
        });
      });

      test('a type that a server does not know is that of no key of it', async () => {
        for (const { client } of [link.source, link.target]) await client.set('string', 'value');
        const { summary } = await swept(link.sides, { type: 'bogus' });
        expect(summary).toMatchObject({ outcome: 'incomplete', compared: 0 });
        expect(summary!.reasons).toEqual([expect.stringContaining('no key of either side is of type bogus')]);
      });
    });
  }
}

for (const [line, provide] of LINES.filter(([line]) => line !== 'Redis 7.4')) {
  await describeWith(`a Cluster of ${line}`, provide, (binary) => {
    test('a sample is drawn from all keys, also where a pattern is of one slot', async () => {
      const [cluster, link] = await Promise.all([startCluster(3, { binary }), startLink()]);
      const seeds = cluster.seeds.map(({ host, port }) => `redis://${host}:${port}`);
      const source = connectRedis({ cluster: seeds }, { name: 'source' });
      onTestFinished(async () => {
        await source.close();
        await Promise.all([link.stop(), cluster.stop()]);
      });
      const names = [...Array(2_000).keys()].map(String).concat([...Array(500).keys()].map((name) => `{one}:${name}`));
      await Promise.all(names.map((name) => cluster.client.set(name, 'v')));
      for (const match of [undefined, '{one}:*']) {
        const pages = new Map<string, string[][]>();
        const watched: Partial<RedisPort> = {
          async scanKeys(place, scan) {
            const page = await source.scanKeys(place, scan);
            const keys = 'keys' in page ? page.keys.map(String) : [];
            if (keys.length > 0) pages.set(place, [...(pages.get(place) ?? []), keys]);
            return page;
          },
        };
        const sides = { source: portWith(source, watched), target: link.sides.target };
        await swept(sides, { sample: 0.5, match, rate: undefined });
        expect(pages.size).toBe(match === undefined ? 3 : 1);
        for (const ofMaster of pages.values()) {
          const times = new Map<string, number>();
          for (const key of ofMaster.flat()) times.set(key, (times.get(key) ?? 0) + 1);
          // A page has ten of some hundred keys.
          expect(ofMaster.length).toBeGreaterThan(15);
          expect(Math.max(...times.values()) / ofMaster.length).toBeLessThan(0.3);
        }
      }
    });
  });
}
