/** Types whose content nobody can compare, because their DUMP is not the same twice. */
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type KeyResult, reconcileKeys } from '../../src/engine/index.js';
import { RedisFailure } from '../../src/redis/index.js';
import { provideRedis74 } from '../../src/stack/programs/index.js';
import { describeWith } from '../support/services.js';
import { DEFAULT_OPTIONS, portWith, reconcileOne, startLink, type TestLink } from './link.js';
import { reconcileAnySize } from './topology.js';

await describeWith('types of the module RedisBloom', provideRedis74, (binary) => {
  let link: TestLink;
  beforeAll(async () => {
    const module = ['--loadmodule', join(dirname(binary), 'redisbloom.so')];
    link = await startLink(module, module, { source: { binary }, target: { binary } });
  });
  afterAll(() => link?.stop());
  beforeEach(() => link.clear());

  const call = (side: 'source' | 'target', line: string) => {
    const [command, ...args] = line.split(' ');
    return link[side].client.call(command!, ...args);
  };

  const LARGE_FILTER = 'BF.RESERVE k 0.001 4000000';

  function expectIncomparable(result: KeyResult | undefined): void {
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'Unsupported' }, wrote: true });
    expect(result!.outcome === 'failed' && result!.error.message).toMatch(/not comparable.*compare it by hand/);
  }

  test('a TopK is copied, and said to be not comparable', async () => {
    await call('source', 'TOPK.RESERVE k 3 8 7 0.9');
    await call('source', 'TOPK.ADD k a b c d a a b');
    expectIncomparable(await reconcileOne(link.sides, 'k'));
    expect(await call('target', 'TOPK.LIST k WITHCOUNT')).toEqual(await call('source', 'TOPK.LIST k WITHCOUNT'));
  });

  test('it says so of this key alone', async () => {
    await call('source', 'TOPK.RESERVE k 3 8 7 0.9');
    for (const key of ['a', 'b']) await link.source.client.rpush(key, '1');
    const requests = ['a', 'k', 'b'].map((key) => ({ key: Buffer.from(key) }));
    const [before, incomparable, behind] = await reconcileKeys(link.sides, requests, DEFAULT_OPTIONS);
    expect([before, behind]).toMatchObject([{ outcome: 'repaired' }, { outcome: 'repaired' }]);
    // Where the memory it was put into happened to hold the same bytes, it looks as on the source.
    if (incomparable!.outcome !== 'repaired') expectIncomparable(incomparable);
  });

  test.each([
    ['Bloom filter', 'BF.ADD k a'],
    ['cuckoo filter', 'CF.ADD k a'],
    ['count-min sketch', 'CMS.INITBYDIM k 100 5'],
    ['t-digest', 'TDIGEST.CREATE k'],
  ])('a %s is copied, and equal then', async (_type, create) => {
    await call('source', create);
    expect(await reconcileOne(link.sides, 'k')).toMatchObject({ outcome: 'repaired', action: 'restored' });
    expect(await reconcileOne(link.sides, 'k')).toEqual({ outcome: 'equal' });
  });

  test('a large Bloom filter is not dumped: that would hold its server', async () => {
    await call('source', LARGE_FILTER);
    await link.source.client.config('RESETSTAT');
    const [result] = await reconcileAnySize(link.sides, [{ key: Buffer.from('k') }]);
    expect(result).toMatchObject({
      outcome: 'failed',
      error: { type: 'Unsupported', message: expect.stringMatching(/^source .*largeValues\.bytes.*by hand/) },
    });
    const page = await link.sides.source.digestKeys([Buffer.from('k')]);
    expect(page).toMatchObject({ large: [Buffer.from('k')] });
    expect(await link.source.client.info('commandstats')).not.toContain('cmdstat_dump');
  });

  test.each([
    ['nothing', '', 'deleted'],
    ['a string', 'SET k v', 'restored'],
    ['a hash', 'HSET k f v', 'restored'],
    ['a small one', 'BF.ADD k a', 'restored'],
  ])('a large Bloom filter makes way for %s of the source', async (_what, onSource, action) => {
    await call('target', LARGE_FILTER);
    if (onSource !== '') await call('source', onSource);
    const request = { key: Buffer.from('k'), allowDelete: onSource === '' };
    expect(await reconcileAnySize(link.sides, [request])).toMatchObject([{ outcome: 'repaired', action }]);
    expect(await reconcileAnySize(link.sides, [request])).toEqual([{ outcome: 'equal' }]);
  });

  // No module that is at hand writes a value in two ways on one server.
  test('a value whose dumps differ on its own server is not comparable either', async () => {
    const read = async () => [new RedisFailure('INCOMPARABLE', 'two dumps of one value differ')];
    await call('source', 'TOPK.RESERVE k 3 8 7 0.9');
    const source = portWith(link.sides.source, { read });
    const result = await reconcileOne({ ...link.sides, source }, 'k');
    expect(result).toMatchObject({ outcome: 'failed', error: { type: 'Unsupported' } });
  });
});
