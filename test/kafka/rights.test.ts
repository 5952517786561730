/** What a broker's bits of allowed operations mean; e2e/trust/kafka-acl has what real ones say. */
import { expect, test } from 'vitest';
import { permits } from '../../src/kafka/rights.js';

const bits = (...numbers: number[]) => numbers.reduce((sum, number) => sum | (1 << number), 0);
const [READ, WRITE, DESCRIBE, UNTOLD] = [3, 4, 8, -2_147_483_648];

test('what is not among them is missing', () => {
  expect(permits(bits(READ, DESCRIBE), 'READ')).toBe(true);
  expect(permits(bits(READ, DESCRIBE), 'WRITE')).toBe(false);
  expect(permits(bits(WRITE, DESCRIBE), 'WRITE')).toBe(true);
});

test('nothing is missing where a broker does not tell', () => {
  for (const untold of [UNTOLD, 0]) expect(permits(untold, 'WRITE')).toBe(true);
});
