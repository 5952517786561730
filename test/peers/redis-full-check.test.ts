/** What users of RedisFullCheck meet, see README.md. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startLink, type TestLink } from '../engine/link.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

test('a list that is the beginning of the other is a difference', async () => {
  const long = Array.from({ length: 1_000 }, (_, index) => `${index}`);
  for (const [source, target] of [
    [long, long.slice(0, 999)],
    [long.slice(0, 999), long],
    [['a', 'b'], ['a']],
  ] as const) {
    await link.clear();
    await link.source.client.rpush('list', ...source);
    await link.target.client.rpush('list', ...target);
    expect(await link.reconcile('list')).toMatchObject({ outcome: 'repaired', action: 'restored' });
    expect(await link.target.client.lrange('list', 0, -1)).toEqual(source);
  }
});
