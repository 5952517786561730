/** What crosses all the time is held back for a moment, in bounded memory. */
import { expect, test } from 'vitest';
import { Crossings } from '../../src/dual-write/records/crossings.js';
import { crossed } from '../../src/dual-write/target/marks.js';

const KEY = Buffer.from('k');

test.each([
  ['small ones', 1, 10, 1],
  ['large ones', 300_000, 10, 3],
])('of %s a key gets a record at once, and one for as many as fit', (_what, bytes, count, handedOver) => {
  const told: number[] = [];
  const crossings = new Crossings((writes) => void told.push(writes.length));
  const write = { command: 'SET', args: [KEY, 'x'.repeat(bytes)], keys: [KEY] };
  for (let number = 1; number <= count; number++) crossings.add([write], crossed([KEY]), number);
  expect(told).toHaveLength(handedOver);
  crossings.flush();
  expect(told.reduce((sum, each) => sum + each, 0)).toBe(count);
  expect(crossings.size).toBe(0);
});
