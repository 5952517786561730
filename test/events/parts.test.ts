import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inParts } from '../../src/events/parts.js';

const split = (sizes: readonly number[], limits: { bytes: number; items?: number }) => [
  ...inParts(sizes, (size) => size, limits),
];

describe('a list in parts', () => {
  it('has as few as its bytes and its number allow, and one of its own for what is too large', () => {
    expect(split([4, 6, 1], { bytes: 10 })).toEqual([[4, 6], [1]]);
    expect(split([4, 11, 4], { bytes: 10 })).toEqual([[4], [11], [4]]);
    expect(split([1, 1, 1], { bytes: 10, items: 2 })).toEqual([[1, 1], [1]]);
    expect(split([], { bytes: 10 })).toEqual([]);
  });

  it('keeps every item, in order, within the limits', () => {
    const anything = [fc.array(fc.nat(20)), fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 5 })] as const;
    fc.assert(
      fc.property(...anything, (sizes, bytes, items) => {
        const parts = split(sizes, { bytes, items });
        expect(parts.flat()).toEqual(sizes);
        for (const part of parts) {
          expect(part.length).toBeGreaterThan(0);
          expect(part.length).toBeLessThanOrEqual(items);
          if (part.length > 1) expect(part.reduce((sum, size) => sum + size)).toBeLessThanOrEqual(bytes);
        }
      }),
    );
  });
});
