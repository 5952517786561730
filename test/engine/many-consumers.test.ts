/** Streams whose groups and consumers are many: Redis tells of them only all at once. */
import type { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { type KeyRequest, reconcileKeys, reconcileLargeKey } from '../../src/engine/index.js';
import { provideRedis82 } from '../../src/stack/programs/index.js';
import { compareRedis } from '../support/compare.js';
import type { RedisOptions } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import { longestHold } from './held.js';
import { DEFAULT_OPTIONS, startLink } from './link.js';

const MOST_MS = 25;

/** @param each what is done for each number; `n` is the number */
async function fill(client: Redis, key: string, count: number, each: string): Promise<void> {
  const script = `
    redis.call('XADD', KEYS[1], '1-0', 'field', 'value')
    redis.call('XGROUP', 'CREATE', KEYS[1], 'g', '0')
    for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do ${each} end`;
  for (let first = 1; first <= count; first += 1_000) {
    await client.eval(first === 1 ? script : script.replace(/redis.call.*\n.*'0'\)/, ''), 1, key, first, first + 999);
  }
}

const MANY = {
  consumers: `redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], 'g', 'consumer:' .. n)`,
  groups: `redis.call('XGROUP', 'CREATE', KEYS[1], 'group:' .. n, '0')`,
};

async function tests(options: RedisOptions): Promise<void> {
  test.each([
    ['consumers', 20_000, '+memory'],
    ['groups', 20_000, '+memory'],
    ['consumers', 20_000, '-memory'],
    ['groups', 20_000, '-memory'],
    ['consumers', 3_000, '+memory'],
    ['groups', 2_000, '+memory'],
    ['consumers', 1_000, '-memory'],
    ['groups', 1_000, '-memory'],
  ] as const)('many %s (%i, %s) hold no server for long', async (what, count, rule) => {
    const link = await startLink([], [], { source: options, target: options });
    try {
      const requests: KeyRequest[] = Array.from({ length: 2 }, (_, n) => ({ key: Buffer.from(`k${n}`) }));
      for (const { client } of [link.source, link.target]) {
        await client.call('ACL', 'SETUSER', 'default', rule);
        for (const { key } of requests) await fill(client, key.toString(), count, MANY[what]);
      }
      const isTooMany = count > 5_000;
      const servers = [link.source, link.target];
      const longest = await longestHold(servers, MOST_MS, async () => {
        for (const { key } of requests) await link.target.client.xgroup('SETID', key, 'g', '1-0');
        const results = await reconcileKeys(link.sides, requests, DEFAULT_OPTIONS);
        for (const [index, result] of results.entries()) {
          if (result.outcome !== 'large') {
            expect(result).toMatchObject({ outcome: 'repaired' });
            continue;
          }
          expect(
            await reconcileLargeKey(link.sides, requests[index]!, { ...DEFAULT_OPTIONS, onProgress() {} }),
          ).toMatchObject(
            isTooMany
              ? { outcome: 'failed', error: { type: 'Unsupported', message: expect.stringMatching(/5,000 consumers/) } }
              : { outcome: 'repaired' },
          );
        }
        if (isTooMany) expect(results.map(({ outcome }) => outcome)).toEqual(requests.map(() => 'large'));
      });
      expect(longest.ms, longest.text).toBeLessThan(MOST_MS);
      if (!isTooMany) expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
    } finally {
      await link.stop();
    }
  });
}

await tests({});
await describeWith('Redis 8.2', provideRedis82, (binary) => void tests({ binary }));
