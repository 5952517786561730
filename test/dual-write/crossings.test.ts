/** What crosses all the time is held back for a moment, in bounded memory. */
import { beforeEach, expect, test } from 'vitest';
import { Crossings } from '../../src/dual-write/records/crossings.js';
import { crossed } from '../../src/dual-write/target/marks.js';

let told: string[];
let crossings: Crossings;
beforeEach(() => {
  told = [];
  crossings = new Crossings((_writes, { keys }) => void told.push(String(keys)));
});

/** @param bytes of its value */
function cross(bytes: number, ...names: string[]): void {
  const keys = names.map((name) => Buffer.from(name));
  const write = { command: 'MSET', args: keys.flatMap((key) => [key, 'x'.repeat(bytes)]), keys };
  crossings.add([write], crossed(keys));
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
    crossings.flush();
    expect(told).toHaveLength(count);
    expect(crossings.size).toBe(0);
  },
);

test('each key of a write counts for itself', () => {
  cross(1, 'a', 'b');
  cross(1, 'b', 'c');
  expect(told).toEqual(['a', 'b', 'c']);
  crossings.flush();
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
  expect(crossings.size).toBe(0);
});
