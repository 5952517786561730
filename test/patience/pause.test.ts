import { describe, expect, it } from 'vitest';
import { jittered, pauseAfter } from '../../src/patience/pause.js';

describe('a pause after failures', () => {
  it('begins with the first one and doubles up to the longest', () => {
    const pauses = [1, 2, 3, 4, 5, 6].map((failed) => pauseAfter(failed, { firstMs: 100, longestMs: 1_000 }));
    expect(pauses).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  });

  it('stays the longest however often it failed', () => {
    expect(pauseAfter(100_000, { firstMs: 1, longestMs: 30_000 })).toBe(30_000);
  });

  it('with jitter is never longer and never less than half', () => {
    const pauses = Array.from({ length: 1_000 }, () => jittered(100));
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(50);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(100);
    expect(new Set(pauses).size).toBeGreaterThan(1);
  });
});
