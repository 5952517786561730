/** What users of ioredis meet, see README.md. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startLink, type TestLink } from '../engine/link.js';
import { compareRedis } from '../support/compare.js';

let link: TestLink;
beforeAll(async () => {
  link = await startLink();
});
afterAll(() => link?.stop());
beforeEach(() => link.clear());

test('a hash whose fields differ only as bytes keeps every one of them', async () => {
  // As text each of these would become the same replacement character.
  const fields = [0x80, 0x81, 0xff].map((byte) => Buffer.from([byte]));
  for (const field of fields) await link.source.client.hset('hash', field, field);
  expect(await link.reconcile('hash')).toMatchObject({ outcome: 'repaired' });
  expect(await link.target.client.hlen('hash')).toBe(fields.length);
  expect(await compareRedis(link.source.client, link.target.client)).toEqual([]);
});

test.each(['source', 'target'] as const)('the connections of a repair speak protocol 2', async (side) => {
  await link.reconcile('any');
  const clients = String(await link[side].client.client('LIST'));
  const ours = clients.split('\n').filter((line) => line.includes(' name=keymend '));
  expect(ours).toHaveLength(1);
  expect(ours[0]).toMatch(/ resp=2\b/);
});
