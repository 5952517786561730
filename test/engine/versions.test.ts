/** A source that is newer than its target: the target can't read what the source dumps, so the key is built by commands. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { connectRedis } from '../../src/redis/index.js';
import { provideRedis62 } from '../../src/stack/index.js';
import { compareRedis } from '../support/compare.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { describeWith } from '../support/services.js';
import { intercept, once, reconcileOne, type TestLink } from './link.js';

await describeWith('a source of Redis 7 and a target of Redis 6.2', provideRedis62, (binary) => {
  let source: RedisServer;
  let target: RedisServer;
  let sides: TestLink['sides'];
  beforeAll(async () => {
    [source, target] = await Promise.all([startRedis(), startRedis([], { binary })]);
    sides = {
      source: connectRedis({ url: source.url }, { name: 'source' }),
      target: connectRedis({ url: target.url }, { name: 'target' }),
    };
  });
  afterAll(async () => {
    await Promise.all([sides?.source.close(), sides?.target.close()]);
    await Promise.all([source?.stop(), target?.stop()]);
  });
  beforeEach(() => Promise.all([source.client.flushall(), target.client.flushall()]));

  const STREAM = [
    ['XADD', 'k', '1-1', 'f', 'v', 'g', ''],
    ['XADD', 'k', '2-1', 'f', 'v'],
    ['XADD', 'k', '3-1', 'f', 'v'],
    ['XGROUP', 'CREATE', 'k', 'g', '0'],
    ['XGROUP', 'CREATECONSUMER', 'k', 'g', 'idle'],
    ['XREADGROUP', 'GROUP', 'g', 'ann', 'COUNT', '2', 'STREAMS', 'k', '>'],
    ['XDEL', 'k', '3-1'],
  ];
  const many = (count: number) => Array.from({ length: count }, (_, i) => `${i}`);

  test.each<[string, (string | Buffer)[][]]>([
    ['string', [['SET', 'k', Buffer.from([0, 255, 128])]]],
    ['empty string', [['SET', 'k', '']]],
    ['list', [['RPUSH', 'k', 'b', 'a', '', 'b', ...many(2_500)]]],
    ['set', [['SADD', 'k', 'a', '', ...many(2_500)]]],
    ['hash', [['HSET', 'k', 'f', 'v', '', '', ...many(3_002)]]],
    ['zset', [['ZADD', 'k', '0.1', 'a', '-inf', 'b', '1e300', 'c', '0', '']]],
    ['stream', STREAM],
    ['empty stream', [['XGROUP', 'CREATE', 'k', 'g', '$', 'MKSTREAM']]],
    [
      'key with an expiry',
      [
        ['SET', 'k', 'v'],
        ['PEXPIREAT', 'k', `${Date.now() + 3_600_000}`],
      ],
    ],
  ])('repairs a %s, in place of whatever was there', async (_name, commands) => {
    for (const [command, ...args] of commands) await source.client.call(command as string, ...args);
    for (const damage of [[], ['SET', 'k', 'old'], ['RPUSH', 'k', 'old']]) {
      await target.client.del('k');
      if (damage.length > 0) await target.client.call(damage[0]!, ...damage.slice(1));
      expect(await reconcileOne(sides, 'k')).toMatchObject({ outcome: 'repaired', action: 'restored' });
      expect(await compareRedis(source.client, target.client)).toEqual([]);
      expect(await reconcileOne(sides, 'k')).toEqual({ outcome: 'equal' });
    }
    expect(await target.client.dbsize()).toBe(1);
  });

  test('never puts an older value over a live write', async () => {
    await source.client.rpush('k', 'new');
    const write = async () => {
      await source.client.rpush('k', 'newest');
      await target.client.rpush('k', 'new', 'newest');
    };
    const intercepted = intercept(sides.target, { 'before repair': once(write) });
    await reconcileOne({ ...sides, target: intercepted }, 'k');
    expect(await target.client.lrange('k', 0, -1)).toEqual(['new', 'newest']);
  });
});
