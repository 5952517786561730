/** What is in doubt all the time is held back for a moment, in bounded memory. */
import { beforeEach, expect, test } from 'vitest';
import { Doubts } from '../../src/dual-write/records/doubts.js';
import { crossed } from '../../src/dual-write/target/marks.js';

let told: string[];
let doubts: Doubts;
beforeEach(() => {
  told = [];
  doubts = new Doubts((key) => void told.push(String(key)));
});

/** @param bytes of its value */
function cross(bytes: number, ...names: string[]): void {
  const keys = names.map((name) => Buffer.from(name));
  const write = { command: 'MSET', args: keys.flatMap((key) => [key, 'x'.repeat(bytes)]), keys };
  doubts.add([write], crossed(keys));
}

test.each([
  ['small', 1, 10, 1],
  ['so many', 1, 1_001, 1_001],
  ['large', 300_000, 5, 5],
])(
  'of %s ones a key gets a record at once, and the others wait as long as they fit',
  (_what, bytes, count, handedOver) => {
    for (let number = 1; number <= count; number++) cross(bytes, 'k');
    expect(told).toHaveLength(handedOver);
    doubts.flush();
    expect(told).toHaveLength(count);
    expect(doubts.size).toBe(0);
  },
);

test('each key of a write counts for itself', () => {
  cross(1, 'a', 'b');
  cross(1, 'b', 'c');
  expect(told).toEqual(['a', 'b', 'c']);
  doubts.flush();
  expect(told).toEqual(['a', 'b', 'c', 'b']);
});

test('of keys with long names only so many are remembered; one that was forgotten has its record at once', () => {
  const name = (number: number) => `${number}${'x'.repeat(100_000)}`;
  cross(1, name(0));
  cross(1, name(1));
  cross(1, name(1));
  expect(told).toHaveLength(2);
  for (let number = 2; number < 20; number++) cross(1, name(number));
  expect(told).toHaveLength(2 + 18 + 1);
  cross(1, name(0));
  expect(told).toHaveLength(2 + 18 + 1 + 1);
  expect(doubts.size).toBe(0);
});
