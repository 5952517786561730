/** One key that takes long is slow alone: others on its connections have their answers in time. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type KeyRequest, type LinkSides, reconcileKeys } from '../../src/engine/index.js';
import { connectRedis } from '../../src/redis/index.js';
import { compareRedis } from '../support/compare.js';
import { DEFAULT_OPTIONS, startLink, type TestLink } from './link.js';

const FIELDS = Array.from({ length: 600 }, (_, index) => `field:${index}`);
const FIELD_BYTES = 150 * 1024;
const OTHERS = Array.from({ length: 50 }, (_, index) => `other:${index}`);
/** What a worker waits for an answer. */
const COMMAND_TIMEOUT_MS = 2_000;

let link: TestLink;
let sides: LinkSides;
beforeAll(async () => {
  link = await startLink();
  const connect = (side: 'source' | 'target') =>
    connectRedis({ url: link[side].url }, { name: side, commandTimeoutMs: COMMAND_TIMEOUT_MS });
  sides = { source: connect('source'), target: connect('target') };
});
afterAll(async () => {
  await Promise.all([sides?.source.close(), sides?.target.close()]);
  await link?.stop();
});

test('a record that names 600 large fields fails none of fifty keys that are reconciled meanwhile', async () => {
  for (const field of FIELDS) {
    await link.source.client.hset('large', field, field.padEnd(FIELD_BYTES));
    await link.target.client.hset('large', field, 'old');
  }
  for (const key of OTHERS) await link.source.client.set(key, 'new');
  const scope = { kind: 'members', members: FIELDS.map((field) => Buffer.from(field)) } as const;
  let isDone = false;
  const large = reconcileOne({ key: Buffer.from('large'), scope }).finally(() => {
    isDone = true;
  });
  const others: { outcome: string }[] = [];
  let rounds = 0;
  // As long as it is under way, again and again.
  while (!isDone) {
    rounds += 1;
    await link.target.client.del(...OTHERS);
    others.push(...(await Promise.all(OTHERS.map((key) => reconcileOne({ key: Buffer.from(key) })))));
  }
  expect(await large).toMatchObject({ outcome: 'repaired', action: 'members', bytes: FIELDS.length * FIELD_BYTES });
  expect(others.filter(({ outcome }) => outcome !== 'repaired')).toEqual([]);
  expect(others).toHaveLength(rounds * OTHERS.length);
  expect(sides.source.connections + sides.target.connections).toBe(2);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

async function reconcileOne(request: KeyRequest) {
  const [result] = await reconcileKeys(sides, [request], DEFAULT_OPTIONS);
  return result!;
}
