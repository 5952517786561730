import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AcceptedPrefix } from '../../src/kafka/accepted-prefix.js';

test('only a record with everything before it accepted moves the prefix', () => {
  const prefix = new AcceptedPrefix(4);
  expect(prefix.accept(1)).toBeNull();
  expect(prefix.accept(3)).toBeNull();
  expect(prefix.accept(0)).toBe(1);
  expect(prefix.accept(0)).toBeNull();
  expect(prefix.accept(2)).toBe(3);
});

test('whatever the order, no record behind a gap is ever in the prefix, and in the end all are', () => {
  const order = fc
    .integer({ min: 1, max: 50 })
    .chain((size) => fc.shuffledSubarray([...Array(size).keys()], { minLength: size }));
  fc.assert(
    fc.property(order, (indexes) => {
      const prefix = new AcceptedPrefix(indexes.length);
      const accepted = new Set<number>();
      let last = -1;
      for (const index of indexes) {
        accepted.add(index);
        last = prefix.accept(index) ?? last;
        expect([...Array(last + 1).keys()].every((one) => accepted.has(one))).toBe(true);
        expect(accepted.has(last + 1)).toBe(false);
      }
      expect(last).toBe(indexes.length - 1);
    }),
  );
});
