import { expect, test } from 'vitest';
import type { Difference } from '../../src/demo/compare.js';
import { Timeline } from '../../src/demo/timeline.js';

const differing = (...keys: string[]) => ({
  keys: 9,
  differences: keys.map((key): Difference => ({ key: Buffer.from(key), what: 'content of string' })),
});

test('a key counts as healed each time it is equal again, and what failed counts as of each look', () => {
  const timeline = new Timeline();
  timeline.compared(differing());
  timeline.failed();
  timeline.failed();
  timeline.compared(differing('a', 'b'));
  timeline.compared(differing('b', 'c'));
  timeline.failed();
  timeline.compared(differing('a'));
  timeline.compared(differing());
  const { samples } = timeline.record();
  const counts = samples.map(({ failedWrites, diverged, healed }) => [failedWrites, diverged, healed]);
  expect(counts).toEqual([
    [0, 0, 0],
    [2, 2, 0],
    [2, 2, 1],
    [3, 1, 3],
    [3, 0, 4],
  ]);
});

test('a look that fails is passed by, and watching ends when it is aborted', async () => {
  const timeline = new Timeline();
  const ended = new AbortController();
  let looks = 0;
  const compare = async () => {
    looks += 1;
    if (looks === 1) throw new Error('no such key');
    ended.abort();
    return differing('a');
  };
  await timeline.watch(compare, ended.signal);
  expect(timeline.record().samples).toHaveLength(1);
});
