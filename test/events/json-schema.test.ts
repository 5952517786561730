import { expect, test } from 'vitest';
import { z } from 'zod';
import { decodeFailedWrite, failedWriteJsonSchema } from '../../src/events/failed-write-codec.js';

const RECORD = {
  specVersion: 1,
  id: '01JD',
  link: 'east-to-west',
  key: 'user:42',
  encoding: 'utf8',
  command: 'SADD',
  members: ['a', 'b'],
  outcome: 'refused',
  failedAt: '2026-11-20T23:00:00.000Z',
  error: { code: 'READONLY', message: 'no' },
  origin: 'orders-api',
};

/** `npx vitest run test/events/json-schema.test.ts --update` writes the file anew. */
test('the published JSON Schema is that of the code', async () => {
  const text = `${JSON.stringify(failedWriteJsonSchema(), null, 2)}\n`;
  await expect(text).toMatchFileSnapshot('../../schemas/failed-write.json');
  expect(failedWriteJsonSchema()).toMatchObject({ $schema: 'https://json-schema.org/draft/2020-12/schema' });
});

test('the published JSON Schema and the decoder agree', () => {
  const published = z.fromJSONSchema(failedWriteJsonSchema() as Parameters<typeof z.fromJSONSchema>[0]);
  const { specVersion, id, link, key, failedAt } = RECORD;
  const records: [boolean, unknown][] = [
    [true, RECORD],
    [true, { specVersion, id, link, key, failedAt }],
    [true, { ...RECORD, more: 'is ignored' }],
    [false, { ...RECORD, specVersion: '1' }],
    [false, { ...RECORD, id: '' }],
    [false, { ...RECORD, key: 42 }],
    [true, { ...RECORD, members: ['a', 1] }],
    [true, { ...RECORD, members: { a: 1 } }],
    [true, { ...RECORD, command: 7 }],
    [true, { ...RECORD, command: 'not a command' }],
    [false, { ...RECORD, outcome: 'lost' }],
    [false, { ...RECORD, encoding: 'latin1' }],
    [false, { ...RECORD, failedAt: '2026-11-20' }],
    [false, { ...RECORD, error: 'READONLY' }],
    [false, []],
  ];
  for (const [valid, record] of records) {
    expect([record, published.safeParse(record).success]).toEqual([record, valid]);
    expect([record, decodeFailedWrite(Buffer.from(JSON.stringify(record))).ok]).toEqual([record, valid]);
  }
});
