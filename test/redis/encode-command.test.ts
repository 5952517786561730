import * as fc from 'fast-check';
import { Command } from 'ioredis';
import { expect, test } from 'vitest';
import { encodeCommand } from '../../src/redis/connection/encode-command.js';

const word = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc.integer({ min: 0, max: 120_000 }).map((length) => 'x'.repeat(length)),
);

test('a command is encoded as ioredis encodes it, whatever its arguments', () => {
  fc.assert(
    fc.property(fc.array(word, { maxLength: 20 }), (args) => {
      const expected = new Command('SET', [...args]).toWritable({});
      expect(encodeCommand(['SET', ...args]).equals(Buffer.from(expected))).toBe(true);
    }),
  );
});
