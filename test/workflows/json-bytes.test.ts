import { expect, test } from 'vitest';
import { firstWithin, jsonBytes } from '../../workflows/json-bytes.js';

test('a list of keys is bounded in bytes and in items, and one that is too large does not end it', () => {
  const keys = ['a'.repeat(40), 'b'.repeat(200), 'c'.repeat(40), 'd', 'e'].map((key) => ({ key }));
  const within = (limits: { items: number; bytes: number }) => firstWithin(keys, limits).map(({ key }) => key[0]);
  expect(within({ items: 10, bytes: 100 })).toEqual(['a', 'c', 'd', 'e']);
  expect(within({ items: 2, bytes: 100 })).toEqual(['a', 'c']);
  expect(within({ items: 10, bytes: 10_000 })).toEqual(['a', 'b', 'c', 'd', 'e']);
});

test.each(['plain', 'é€😀', '"\\\n\u0001', '\ud800'])('the bytes of %j are those of its JSON, and a comma', (text) => {
  expect(jsonBytes(text)).toBe(Buffer.byteLength(JSON.stringify(text)) + 1);
});
