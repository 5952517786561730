/** What users of RedisShake meet, see README.md. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Scope, scopeOf } from '../../src/engine/index.js';
import { connectRedis } from '../../src/redis/index.js';
import { addFailedWrites, NOTHING_PENDING } from '../../workflows/pending.js';
import { type Bed, settled, startBed } from '../dual-write/bed.js';
import { reconcileOne, startLink, type TestLink } from '../engine/link.js';
import { compareRedis } from '../support/compare.js';
import { keysOf } from '../support/keys.js';
import { POLICY } from '../support/workflow-bed.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

test('a list that is transferred again and again, also at once, has each element once', async () => {
  const elements = Array.from({ length: 5_000 }, (_, index) => `element-${index % 100}`);
  await link.source.client.rpush('list', ...elements);
  await link.target.client.rpush('list', ...elements.slice(0, 70));
  await Promise.all(Array.from({ length: 5 }, () => link.reconcile('list')));
  await link.reconcile('list');
  expect(await link.target.client.lrange('list', 0, -1)).toEqual(elements);
});

test('a RENAME that the target missed leaves no old key there', async () => {
  const bed: Bed = await startBed();
  try {
    const writer = await bed.writer();
    await writer.hset('old', { a: '1', b: '2' });
    await writer.set('new', 'to be replaced');
    await settled(writer);
    bed.link.swallow();
    await writer.rename('old', 'new');
    bed.link.cut();
    const records = await bed.sink.have(2);
    for (const record of records) {
      const { hint } = addFailedWrites(NOTHING_PENDING, [record], POLICY, Date.now());
      const scope: Scope = scopeOf(hint);
      await repair(bed, record.key, scope);
    }
    expect(await keysOf(bed.target.client)).toEqual(['new']);
    expect(await compareRedis(bed.source.client, bed.target.client)).toEqual([]);
  } finally {
    await bed.stop();
  }
});

/** Through ports of its own on the servers of the bed. */
async function repair(bed: Bed, key: string, scope: Scope): Promise<void> {
  const sides = {
    source: connectRedis({ url: bed.source.url }, { name: 'source' }),
    target: connectRedis({ url: bed.target.url }, { name: 'target' }),
  };
  try {
    expect(await reconcileOne(sides, key, { scope })).toMatchObject({ outcome: 'repaired' });
  } finally {
    await Promise.all([sides.source.close(), sides.target.close()]);
  }
}
