import { afterAll, beforeAll, expect, test } from 'vitest';
import { slotOf, tagIn } from '../../src/redis/slots.js';
import { type RedisCluster, startCluster } from '../support/cluster.js';

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startCluster(2);
});
afterAll(() => cluster?.stop());

const BRACES = [
  '',
  '{',
  '}',
  '{}',
  '{}a',
  'a{}',
  'foo{}{bar}',
  'memo:[{},{"id":1}]',
  '{{a}}',
  'a{b}c{d}',
  '}{',
  '{a',
  'a}b',
];
const BINARY = [Buffer.from([0, 255, 123, 128, 125, 10]), Buffer.from('käse{ü}')];
const RANDOM = Array.from({ length: 200 }, (_, index) => `key:${index}:{${index * 7919}}`);

test('a key has the slot that the server counts, whatever braces and bytes it has', async () => {
  const { client } = cluster.nodes[0]!;
  for (const key of [...BRACES, ...RANDOM, ...BINARY].map((each) => Buffer.from(each as string))) {
    expect([key.toString('latin1'), slotOf(key)]).toEqual([
      key.toString('latin1'),
      await client.call('CLUSTER', 'KEYSLOT', key),
    ]);
  }
});

test('a tag for every slot lies in it', () => {
  for (let slot = 0; slot < 16_384; slot++) expect(slotOf(Buffer.from(`name:{${tagIn(slot)}}`))).toBe(slot);
});
