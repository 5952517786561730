import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { workflowIdFor, workflowIdOf } from '../../src/bridge/workflow-id.js';

function hashed(key: Buffer): string {
  return `sha256:${createHash('sha256').update(key).digest('hex')}`;
}

test('a key that a person can read is the ID', () => {
  for (const key of [
    'user:42',
    'grün',
    '日本語',
    '👩‍🚀',
    ' ',
    'a b',
    'sha256:abc',
    'k'.repeat(255),
    'é'.repeat(255),
    'keymend',
    'a/keymend/b',
  ]) {
    expect(workflowIdFor('', Buffer.from(key))).toBe(key);
  }
  expect(workflowIdFor('west/', Buffer.from('user:42'))).toBe('west/user:42');
});

test.each([
  ['it is empty', Buffer.alloc(0)],
  ['it is longer than 255 characters', Buffer.from('k'.repeat(256))],
  ['it is longer than Temporal takes in bytes', Buffer.from('👩'.repeat(251))],
  ['it is named like other workflows of ours', Buffer.from('keymend/sweep/east-to-west')],
  ['it is not UTF-8', Buffer.from([0xc3, 0x28])],
  ['it holds half a surrogate pair as bytes', Buffer.from([0xed, 0xa0, 0x80])],
  ['it holds a control character', Buffer.from('a\u0000b')],
  ['it holds a line break', Buffer.from('a\nb')],
  ['it holds a C1 control character', Buffer.from('a\u0085b')],
  ['it holds a line separator', Buffer.from('a\u2028b')],
  ['it holds a paragraph separator', Buffer.from('a\u2029b')],
  ['it looks like a digest', Buffer.from(hashed(Buffer.from('x')))],
])('the ID is the digest of the raw key when %s', (_title, key) => {
  expect(workflowIdFor('', key)).toBe(hashed(key));
  expect(workflowIdFor('west/', key)).toBe(`west/${hashed(key)}`);
});

test('the prefix counts', () => {
  const key = Buffer.from('k'.repeat(250));
  expect(workflowIdFor('west/', key)).toBe(`west/${key}`);
  expect(workflowIdFor('north/', key)).toBe(`north/${hashed(key)}`);
  expect(workflowIdFor('keymend', Buffer.from('/sweep/a'))).toBe(`keymend${hashed(Buffer.from('/sweep/a'))}`);
});

test('two keys never share an ID, and every ID is one that Temporal takes', () => {
  const key = fc
    .oneof(
      fc.uint8Array({ maxLength: 1_000 }),
      fc.string({ unit: 'binary', maxLength: 300 }).map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 2 }).map((bytes) => Buffer.from(hashed(Buffer.from(bytes)))),
      fc.uint8Array({ maxLength: 2 }),
    )
    .map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(key, key, fc.string({ maxLength: 64, unit: fc.constantFrom('a', '/', ':') }), (a, b, prefix) => {
      const ids = [a, b].map((one) => workflowIdFor(prefix, one));
      expect(ids[0] === ids[1]).toBe(a.equals(b));
      for (const id of ids) {
        expect(Buffer.byteLength(id)).toBeLessThanOrEqual(1_000);
        expect([...id].length).toBeLessThanOrEqual(255);
        expect(id).not.toMatch(/^keymend\/(?!sha256:)/);
        expect(id).not.toBe('');
        expect(id).not.toMatch(/[\p{Cc}\p{Cs}]/u);
      }
    }),
    { numRuns: 2_000 },
  );
});

test('with a secret an ID says nothing of its key, and is the same each time', () => {
  const [link, other] = ['s', 't'].map((letter) => ({
    workflowIdPrefix: 'west/',
    workflowIdSecret: letter.repeat(32),
  }));
  const ids = ['user:42', 'user:43'].map((key) => workflowIdOf(link!, Buffer.from(key)));
  for (const id of ids) expect(id).toMatch(/^west\/hmac:[0-9a-f]{64}$/);
  expect(workflowIdOf(link!, Buffer.from('user:42'))).toBe(ids[0]);
  expect(workflowIdOf(other!, Buffer.from('user:42'))).not.toBe(ids[0]);
  expect(ids[1]).not.toBe(ids[0]);
  expect(workflowIdOf({ workflowIdPrefix: 'west/' }, Buffer.from('user:42'))).toBe('west/user:42');
});
