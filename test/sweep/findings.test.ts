/** What is kept of what a sweep finds, and what a sample says of all. */
import { expect, test } from 'vitest';
import { prefixOf } from '../../src/events/key-prefix.js';
import { atMost } from '../../src/sweep/bound.js';
import { reportOf } from '../../src/sweep/report.js';
import { htmlReport } from '../../src/sweep/report-html.js';
import { added, type Finding, NOTHING_FOUND } from '../../src/sweep/tally.js';
import type { SweepResult } from '../../workflows/sweep-messages.js';

test.each([
  ['user:42', 'user:'],
  ['user:42:mail', 'user:'],
  ['shop/cart/8f3a', 'shop/cart/'],
  ['config:flags:main', 'config:flags:'],
  ['plain', ''],
  ['42', ''],
  ['user:{42}:mail', 'user:'],
  ['user:\u001b[31m:x', 'user:'],
])('%j begins with %j, up to what is most likely an ID', (key, prefix) => {
  expect(prefixOf(Buffer.from(key))).toBe(prefix);
});

const many200 = () => Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`${index}:`, 1]));

test('all that differ are counted, and so many are named that a history can hold them', () => {
  const missing = (key: string): Finding => ({ key: Buffer.from(key), difference: 'missing' });
  const many = Array.from({ length: 3_000 }, (_, index) => missing(`user:${index}`));
  const tally = added(NOTHING_FOUND, many, NOTHING_FOUND);
  expect(tally.differing.missing).toBe(3_000);
  expect(tally.listed).toHaveLength(1_000);
  expect(tally.prefixes).toEqual({ 'user:': 3_000 });
  expect(added(NOTHING_FOUND, many, tally).listed).toEqual([]);
  expect(added(NOTHING_FOUND, [missing('other:1')], { ...NOTHING_FOUND, prefixes: many200() }).prefixes).toEqual({});
  const long = Array.from({ length: 1_000 }, (_, index) => missing(`${index}`.padEnd(1_000, 'x')));
  expect(JSON.stringify(added(NOTHING_FOUND, long, NOTHING_FOUND).listed).length).toBeLessThan(100_000);
});

test.each([
  // 3 in so many, where none was found; the others from a table of the Clopper-Pearson bound.
  [0, 300, 0.0099],
  [0, 3_000, 0.000_998],
  [5, 100, 0.1023],
  [1, 20, 0.2161],
  [10, 10, 1],
])('%i of %i: at most %d', (differing, sampled, bound) => {
  expect(atMost(differing, sampled)).toBeCloseTo(bound, 4);
});

test('a page shows keys of any bytes, and does nothing with them', () => {
  const result: SweepResult = {
    ...NOTHING_FOUND,
    link: 'east-to-west',
    options: { match: '<b>*' },
    startedAt: '2026-11-20T23:00:00.000Z',
    finishedAt: '2026-11-20T23:00:01.000Z',
    outcome: 'divergent',
    compared: 3,
    differing: { ...NOTHING_FOUND.differing, value: 2 },
    prefixes: [{ prefix: '', keys: 2 }],
    targetOnly: 'counted',
    redone: 0,
    listed: [{ key: '"><script>alert(1)</script>', encoding: 'utf8', difference: 'value' }],
  };
  const page = htmlReport(reportOf(result), (text) => text);
  expect(page).not.toMatch(/<script|<b>/);
  expect(page).toContain('&#34;&#62;&#60;script&#62;');
  expect(page).toContain('and 1 more');
});
