/** The table of README.md names tests that are there. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const TABLE = readFileSync(new URL('README.md', import.meta.url), 'utf8');
const ROWS = TABLE.split('\n')
  .filter((line) => line.startsWith('| '))
  .slice(2)
  .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '')));

test('the table of the peers is read as such', () => {
  expect(ROWS.length).toBeGreaterThan(30);
  for (const row of ROWS) expect(row).toHaveLength(4);
});

test.each(ROWS)('%s, %s: %s has it', (_peer, _failure, file, title) => {
  const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
  expect(text.includes(`'${title}'`)).toBe(true);
});
